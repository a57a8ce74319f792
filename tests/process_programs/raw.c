/* System calls that libc hides: fork and execveat themselves; yielding to another process; fexecve of a script. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int status_of(pid_t child)
{
    int status;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

static int said(long result, int error)
{
    return result == -1 && errno == error;
}

int main(void)
{
    char *argv[] = {"sh", "-c", "exit 5", NULL};
    setvbuf(stdout, NULL, _IONBF, 0);
    pid_t child = (pid_t)syscall(SYS_fork);
    if (child == 0)
        syscall(SYS_exit_group, 3);
    printf("fork %d\n", status_of(child));

    int bin = open("/bin", O_PATH | O_DIRECTORY), shell = open("/bin/sh", O_RDONLY | O_CLOEXEC);
    child = fork();
    if (child == 0) {
        syscall(SYS_execveat, bin, "sh", argv, environ, 0);
        _exit(99);
    }
    printf("execveat %d\n", status_of(child));
    child = fork();
    if (child == 0) {
        fexecve(shell, argv, environ);
        _exit(99);
    }
    printf("fexecve %d\n", status_of(child));
    long result = syscall(SYS_execveat, bin, "sh", argv, environ, 0x8000);
    printf("bad flags %ld %d\n", result, errno == EINVAL);
    char *huge = malloc(200000);
    memset(huge, 'x', 199999);
    huge[199999] = 0;
    argv[2] = huge;
    printf("too long %d\n", said(execv("/bin/sh", argv), E2BIG));
    printf("bad address %d\n", said(execve("/bin/sh", (char **)8, environ), EFAULT));
    free(huge);

    volatile int *turn = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    child = fork();
    if (child == 0) {
        while (*turn != 1)
            sched_yield();
        *turn = 2;
        _exit(0);
    }
    *turn = 1;
    while (*turn != 2)
        sched_yield();
    printf("yielded %d\n", status_of(child));

    child = fork();
    if (child == 0) {
        for (volatile int i = 0; i < 100000; i++)
            ;
        _exit(8);
    }
    int status;
    while (waitpid(child, &status, WNOHANG) == 0)
        ;
    printf("asked over and over %d\n", WEXITSTATUS(status));
    printf("nobody %d\n", said(kill(999999, 0), ESRCH));
    return 0;
}
