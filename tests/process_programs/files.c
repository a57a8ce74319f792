/* What processes share by files: locks of fcntl and flock, named pipes, the offset of a description. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int ask(int fd, int command, short kind, off_t start, off_t length)
{
    struct flock lock = {.l_type = kind, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    int result = fcntl(fd, command, &lock);
    if (command != F_GETLK)
        return result ? errno : 0;
    return lock.l_type == F_UNLCK ? -1 : (int)lock.l_start * 1000 + (int)lock.l_len;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int fd = open("locked", O_RDWR | O_CREAT | O_TRUNC, 0600);
    write(fd, "0123456789", 10);
    printf("write lock %d\n", ask(fd, F_SETLK, F_WRLCK, 2, 4));
    printf("own locks are in nobody's way %d\n", ask(fd, F_GETLK, F_WRLCK, 0, 0));
    if (fork() == 0) {
        printf("child sees %d\n", ask(fd, F_GETLK, F_RDLCK, 0, 0));
        printf("child is refused %d, beside it not %d\n", ask(fd, F_SETLK, F_RDLCK, 5, 1) == EAGAIN,
               ask(fd, F_SETLK, F_WRLCK, 6, 1));
        printf("child waits\n");
        int result = ask(fd, F_SETLKW, F_WRLCK, 3, 1);
        usleep(100000);
        printf("child has it %d\n", result);
        _exit(0);
    }
    usleep(300000);
    printf("parent gives up the middle %d\n", ask(fd, F_SETLK, F_UNLCK, 3, 1));
    wait(NULL);
    if (fork() == 0) {
        printf("left %d\n", ask(fd, F_GETLK, F_WRLCK, 0, 0));
        printf("and %d\n", ask(fd, F_GETLK, F_WRLCK, 3, 0));
        _exit(0);
    }
    wait(NULL);

    int other = open("locked", O_RDWR);
    printf("flock %d\n", flock(fd, LOCK_EX));
    int refused = flock(other, LOCK_EX | LOCK_NB);
    printf("other %d %d\n", refused, errno == EWOULDBLOCK);
    if (fork() == 0) {
        printf("inherited %d\n", flock(fd, LOCK_EX | LOCK_NB));
        _exit(0);
    }
    wait(NULL);
    if (fork() == 0) {
        close(fd);
        flock(other, LOCK_SH);
        printf("child got it\n");
        _exit(0);
    }
    usleep(300000);
    printf("unlocking\n");
    flock(fd, LOCK_UN);
    wait(NULL);

    char line[100];
    mkfifo("pipe", 0600);
    struct stat status;
    stat("pipe", &status);
    printf("fifo %d %o\n", S_ISFIFO(status.st_mode), status.st_mode & 0777);
    int end = open("pipe", O_WRONLY | O_NONBLOCK);
    printf("no reader %d %d\n", end, errno == ENXIO);
    if (fork() == 0) {
        FILE *out = fopen("pipe", "w");
        fprintf(out, "through the pipe\n");
        fclose(out);
        usleep(600000);
        out = fopen("pipe", "w");
        fprintf(out, "a second time\n");
        exit(0);
    }
    for (int i = 0; i < 2; i++) {
        FILE *in = fopen("pipe", "r");
        usleep(100000);
        fgets(line, sizeof line, in);
        printf("%s", line);
        printf("end %d\n", fgetc(in) == EOF);
        fclose(in);
    }
    wait(NULL);
    unlink("pipe");

    lseek(fd, 0, SEEK_SET);
    if (fork() == 0) {
        read(fd, line, 3);
        _exit(0);
    }
    wait(NULL);
    line[read(fd, line, 3)] = 0;
    printf("goes on at %s\n", line);
    return 0;
}
