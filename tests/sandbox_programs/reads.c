/* Tries in many ways to read the file whose absolute path is given, and says which of them gave its content. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *secret;
static int tries;

static void look(const char *way, int fd) {
    char text[64] = "";
    tries++;
    if (fd < 0) return;
    ssize_t got = read(fd, text, sizeof text - 1);
    if (got > 0 && strstr(text, "SECRET")) printf("READ %s\n", way);
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    if (page != MAP_FAILED) {
        if (memmem(page, got > 0 ? got : 1, "SECRET", 6)) printf("MAPPED %s\n", way);
        munmap(page, 4096);
    }
    close(fd);
}

static void by_path(const char *way, const char *format, ...) {
    char path[3 * PATH_MAX];
    va_list list;
    va_start(list, format);
    vsnprintf(path, sizeof path, format, list);
    va_end(list);
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 31) printf("STAT %s\n", way);
    if (access(path, F_OK) == 0) printf("ACCESS %s\n", way);
    look(way, open(path, O_RDONLY));
    look(way, open(path, O_RDWR));
    int only = open(path, O_PATH);
    if (only >= 0) {
        char again[64];
        sprintf(again, "/proc/self/fd/%d", only);
        look("O_PATH reopened", open(again, O_RDONLY));
        look("O_PATH openat", openat(only, "", O_RDONLY));
        close(only);
    }
}

static char dots[400];
static volatile int racing = 1;

static void *race(void *unused) {
    while (racing) {
        renameat2(AT_FDCWD, "real", AT_FDCWD, "swap", 0);
        symlink("/", "real");
        sched_yield();
        unlink("real");
        rename("swap", "real");
        sched_yield();
    }
    return unused;
}

int main(int argc, char **argv) {
    secret = argv[1];
    char target[2 * PATH_MAX], buffer[PATH_MAX];
    for (int i = 0; i < 100; i++) strcat(dots, "../");

    by_path("directly", "%s", secret);
    by_path("dots", "%s%s", dots, secret + 1);
    by_path("slashes", "/////%s", secret);
    by_path("dots behind a directory", "/tmp/%s%s", dots, secret + 1);
    by_path("/proc/self/root", "/proc/self/root%s", secret);
    by_path("/proc/self/cwd", "/proc/self/cwd/%s%s", dots, secret + 1);
    by_path("/proc/self/exe", "/proc/self/exe/../%s%s", dots, secret + 1);
    by_path("/proc/thread-self/root", "/proc/thread-self/root%s", secret);
    by_path("/proc/1/root", "/proc/1/root%s", secret);
    by_path("/proc/getpid/root", "/proc/%d/root%s", getpid(), secret);
    by_path("/proc/getppid/root", "/proc/%d/root%s", getppid(), secret);
    by_path("/proc/self/fd/0", "/proc/self/fd/0/%s%s", dots, secret + 1);
    by_path("/dev/fd", "/dev/fd/../../..%s", secret);
    for (int fd = 0; fd < 30; fd++) by_path("a descriptor", "/proc/self/fd/%d/%s%s", fd, dots, secret + 1);

    symlink(secret, "link");
    by_path("a link", "link");
    symlink("/", "rootlink");
    by_path("a link to /", "rootlink%s", secret);
    symlink(dots, "dotlink");
    by_path("a link of dots", "dotlink%s", secret);
    symlink("link", "link2");
    by_path("a chain of links", "link2");
    symlink("/proc/self/root", "proclink");
    by_path("a link to /proc/self/root", "proclink%s", secret);
    snprintf(target, sizeof target, "/proc/self/root%s", secret);
    symlink(target, "/tmp/l");
    by_path("a link in /tmp", "/tmp/l");

    int root = open("/", O_RDONLY | O_DIRECTORY);
    look("openat /", openat(root, secret + 1, O_RDONLY));
    snprintf(target, sizeof target, "%s%s", dots, secret + 1);
    look("openat dots", openat(root, target, O_RDONLY));
    int tmp = open("/tmp", O_PATH | O_DIRECTORY);
    look("openat O_PATH", openat(tmp, target, O_RDONLY));
    fchdir(root);
    look("fchdir", open(secret + 1, O_RDONLY));
    chdir("/proc/self/root");
    look("chdir /proc/self/root", open(secret + 1, O_RDONLY));
    for (int i = 0; i < 60; i++) chdir("..");
    look("chdir ..", open(secret + 1, O_RDONLY));
    chdir("/tmp");

    unsigned long how[3] = {O_RDONLY, 0, 0};
    look("openat2", syscall(SYS_openat2, AT_FDCWD, secret, how, sizeof how));
    struct file_handle *handle = calloc(1, sizeof *handle + 128);
    handle->handle_bytes = 128;
    int mount;
    name_to_handle_at(AT_FDCWD, secret, handle, &mount, 0);
    look("open_by_handle_at", open_by_handle_at(root, handle, O_RDONLY));

    if (link(secret, "/tmp/hard") == 0) printf("LINKED\n");
    by_path("a hard link", "/tmp/hard");
    linkat(AT_FDCWD, secret, AT_FDCWD, "/tmp/hard2", AT_SYMLINK_FOLLOW);
    by_path("linkat", "/tmp/hard2");
    if (rename(secret, "/tmp/moved") == 0) printf("MOVED\n");
    by_path("rename", "/tmp/moved");
    rename("/tmp/moved", secret);
    if (readlink(secret, buffer, sizeof buffer) > 0) printf("READLINK\n");

    /* a directory that turns into a link to / while it is walked through */
    chdir("/tmp");
    snprintf(target, sizeof target, "real/%s", secret + 1);
    mkdir("real", 0755);
    pthread_t thread;
    pthread_create(&thread, NULL, race, NULL);
    for (int i = 0; i < 300; i++) {
        look("a race", open(target, O_RDONLY));
        sched_yield();
        look("a race with O_NOFOLLOW", open(target, O_RDONLY | O_NOFOLLOW));
    }
    racing = 0;
    pthread_join(thread, NULL);
    printf("%d tries\n", tries);
    return 0;
}
