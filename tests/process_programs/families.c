/* Orphans, zombies, sessions, groups, umask, directory, limits, descriptors after fork. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int said(long result, int error)
{
    return result == -1 && errno == error;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int ends[2];
    char c;
    pipe(ends);
    pid_t top = getpid();
    if (fork() == 0) {
        if (fork() == 0) {
            close(ends[0]);
            pid_t parent = getppid();
            while (getppid() == parent)
                usleep(1000);
            printf("orphan: adopted %d\n", getppid() != parent && getppid() != top);
            write(ends[1], "x", 1);
            _exit(0);
        }
        usleep(5000);
        _exit(0);
    }
    wait(NULL);
    close(ends[1]);
    read(ends[0], &c, 1);
    printf("none left: %d\n", wait(NULL));

    pid_t zombie = fork();
    if (zombie == 0)
        _exit(0);
    usleep(10000);
    printf("zombie can be signalled: %d\n", kill(zombie, 0));
    printf("waited %d\n", waitpid(zombie, NULL, 0) == zombie);
    printf("then not: %d\n", kill(zombie, 0));

    pid_t child = fork();
    if (child == 0) {
        printf("same group %d session %d\n", getpgrp() == getpgid(top), getsid(0) == getsid(top));
        printf("setsid %d\n", setsid() == getpid());
        printf("leads %d %d\n", getsid(0) == getpid(), getpgrp() == getpid());
        printf("again %d\n", said(setsid(), EPERM));
        printf("setpgid of a leader %d\n", said(setpgid(0, 0), EPERM));
        _exit(0);
    }
    wait(NULL);
    child = fork();
    if (child == 0) {
        setpgid(0, 0);
        raise(SIGSTOP);
        for (;;)
            pause();
    }
    int status;
    waitpid(child, &status, WUNTRACED);
    printf("stopped %d, its group %d\n", WIFSTOPPED(status), getpgid(child) == child);
    kill(-child, SIGTERM);
    printf("still there %d\n", waitpid(child, &status, WNOHANG));
    kill(-child, SIGCONT);
    waitpid(child, &status, 0);
    printf("ended by TERM %d\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    printf("no such group %d\n", said(setpgid(0, 999999), EPERM));

    umask(027);
    chdir("/");
    struct rlimit limit = {50, 60};
    setrlimit(RLIMIT_NOFILE, &limit);
    prctl(PR_SET_NAME, "renamed");
    child = fork();
    if (child == 0) {
        char here[100], name[20];
        getrlimit(RLIMIT_NOFILE, &limit);
        prctl(PR_GET_NAME, name);
        printf("child: umask %o cwd %s limit %ld name %s\n", umask(0), getcwd(here, sizeof here), (long)limit.rlim_cur,
               name);
        chdir("/usr");
        limit.rlim_cur = 10;
        setrlimit(RLIMIT_NOFILE, &limit);
        close(ends[0]);
        printf("self %d\n", atoi((readlink("/proc/self", here, 99), here)) == getpid());
        _exit(0);
    }
    wait(NULL);
    char here[100];
    getrlimit(RLIMIT_NOFILE, &limit);
    printf("parent: umask %o cwd %s limit %ld\n", umask(0), getcwd(here, sizeof here), (long)limit.rlim_cur);
    printf("descriptor stays %d\n", fcntl(ends[0], F_GETFD));
    return 0;
}
