/* Pipes both ways, larger than a pipe's buffer, blocking on both sides; end of file and SIGPIPE. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char buffer[300000];

static size_t read_all(int fd)
{
    size_t total = 0;
    ssize_t count;
    while ((count = read(fd, buffer, 1000)) > 0)
        total += (size_t)count;
    return total;
}

static void both_ways(void)
{
    int down[2], up[2];
    pipe(down);
    pipe(up);
    if (fork() == 0) {
        close(down[1]);
        close(up[0]);
        char c;
        while (read(down[0], &c, 1) == 1) {
            c = (char)(c + 1);
            write(up[1], &c, 1);
        }
        _exit(0);
    }
    close(down[0]);
    close(up[1]);
    for (const char *p = "HAL-"; *p; p++) {
        char c;
        write(down[1], p, 1);
        read(up[0], &c, 1);
        putchar(c);
    }
    close(down[1]);
    printf(" eof %zd\n", read(up[0], buffer, 1));
    close(up[0]);
    wait(NULL);
}

static void large(void)
{
    int ends[2];
    pipe(ends);
    if (fork() == 0) {
        close(ends[0]);
        memset(buffer, 'x', sizeof buffer);
        ssize_t done = write(ends[1], buffer, sizeof buffer);
        _exit(done == sizeof buffer ? 0 : 1);
    }
    close(ends[1]);
    int status;
    printf("large %zu\n", read_all(ends[0]));
    wait(&status);
    printf("writer %d\n", WEXITSTATUS(status));
    close(ends[0]);
}

static void broken(void)
{
    int ends[2], status;
    pipe(ends);
    if (fork() == 0) {
        close(ends[0]);
        for (;;)
            write(ends[1], buffer, 4096);
    }
    close(ends[1]);
    printf("some %d\n", (int)read(ends[0], buffer, 10));
    close(ends[0]);
    wait(&status);
    printf("signalled %d\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

static void polled(void)
{
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    if (fork() == 0) {
        usleep(20000);
        write(pair[1], "late", 4);
        _exit(0);
    }
    struct pollfd wait_for = {pair[0], POLLIN, 0};
    printf("too early %d\n", poll(&wait_for, 1, 5));
    printf("then %d\n", poll(&wait_for, 1, -1));
    printf("read %zd\n", read(pair[0], buffer, 10));
    wait(NULL);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    both_ways();
    large();
    broken();
    polled();
    return 0;
}
