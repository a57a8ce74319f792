/* Uses something up, by the first argument, and says where it stopped. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static char block[1 << 20];

static void *sleeper(void *unused) {
    pause();
    return unused;
}

int main(int argc, char **argv) {
    const char *what = argv[1];
    int ends[2], count = 0, fd;
    char name[64];
    memset(block, 'x', sizeof block);
    if (!strcmp(what, "output"))
        for (;;) write(1, block, sizeof block);
    else if (!strcmp(what, "file")) {
        for (fd = open("big", O_CREAT | O_WRONLY, 0600); write(fd, block, sizeof block) > 0;) count++;
    } else if (!strcmp(what, "memfd")) {
        for (fd = memfd_create("m", 0); write(fd, block, sizeof block) > 0;) count++;
    } else if (!strcmp(what, "sparse")) {
        fd = open("sparse", O_CREAT | O_RDWR, 0600);
        for (off_t at = 1; at < (off_t)1 << 40; at *= 2) count += pwrite(fd, "x", 1, at) == 1;
    } else if (!strcmp(what, "files")) {
        for (;; count++) {
            sprintf(name, "f%d", count);
            if (mknod(name, S_IFREG | 0600, 0)) break;
        }
    } else if (!strcmp(what, "descriptors")) {
        while (open("/dev/null", O_RDONLY) >= 0) count++;
    } else if (!strcmp(what, "pipes")) {
        while (pipe(ends) == 0 && write(ends[1], block, sizeof block) > 0) count++;
    } else if (!strcmp(what, "sockets")) {
        while (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && write(ends[1], block, sizeof block) > 0) count++;
    } else if (!strcmp(what, "threads")) {
        pthread_t thread;
        pthread_attr_t small;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 16384);
        while (pthread_create(&thread, &small, sleeper, NULL) == 0) count++;
        fprintf(stderr, "%d threads\n", count);
        return 0;
    } else if (!strcmp(what, "depth")) {
        while (count < 3000 && mkdir("d", 0700) == 0 && chdir("d") == 0) count++;
    } else if (!strcmp(what, "loop")) {
        for (;;) count++;
    } else if (!strcmp(what, "links")) {
        symlink("l1", "l0");
        for (count = 1; count < 60; count++) {
            char target[64];
            sprintf(name, "l%d", count);
            sprintf(target, "l%d", count + 1);
            symlink(target, name);
        }
        symlink("self", "self");
        open("l0", O_RDONLY);
        printf("%s\n", strerror(errno));
        open("self", O_RDONLY);
    }
    fprintf(stderr, "%d, %s\n", count, strerror(errno));
    return 0;
}
