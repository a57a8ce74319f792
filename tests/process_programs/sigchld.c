/* SIGCHLD: handlers, sigwait, interrupted and restarted calls, signals between processes, alarm not inherited. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t reaped, usr1, last_status, code;

static void on_child(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    int status, saved = errno;
    code = info->si_code;
    while (waitpid(-1, &status, WNOHANG) > 0) {
        reaped++;
        last_status = WEXITSTATUS(status);
    }
    errno = saved;
}

static void on_usr1(int number)
{
    (void)number;
    usr1++;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO};
    sigaction(SIGCHLD, &action, NULL);
    signal(SIGUSR1, on_usr1);

    if (fork() == 0) {
        usleep(300000);
        _exit(42);
    }
    int left = (int)sleep(10);
    printf("interrupted %d reaped %d status %d code %d\n", left > 0, reaped, last_status, code == CLD_EXITED);

    sigset_t block, old;
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, &old);
    pid_t child = fork();
    if (child == 0) {
        sigset_t pending;
        sigpending(&pending);
        printf("child: pending %d\n", sigismember(&pending, SIGUSR1));
        kill(getppid(), SIGUSR1);
        usleep(300000);
        _exit(1);
    }
    siginfo_t info;
    int first = sigwaitinfo(&block, &info);
    printf("usr1 %d from child %d\n", first == SIGUSR1, info.si_pid == child);
    int second = sigwaitinfo(&block, &info);
    printf("chld %d status %d\n", second == SIGCHLD, info.si_status);
    waitpid(child, NULL, 0);
    sigprocmask(SIG_SETMASK, &old, NULL);

    signal(SIGCHLD, SIG_DFL);
    int ends[2];
    pipe(ends);
    child = fork();
    if (child == 0) {
        usleep(200000);
        kill(getppid(), SIGUSR1);
        usleep(200000);
        write(ends[1], "x", 1);
        _exit(0);
    }
    char c;
    int before = usr1;
    printf("read %zd, handler %d\n", read(ends[0], &c, 1), usr1 - before);
    wait(NULL);

    alarm(100);
    struct itimerval value;
    if (fork() == 0) {
        printf("child: alarm %u\n", alarm(0));
        getitimer(ITIMER_REAL, &value);
        _exit(value.it_value.tv_sec != 0);
    }
    wait(NULL);
    printf("parent: alarm %d\n", alarm(0) > 0);

    raise(SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGUSR1);
    if (fork() == 0) {
        sigset_t pending, mask;
        sigpending(&pending);
        sigprocmask(SIG_SETMASK, NULL, &mask);
        printf("child: pending %d blocked %d\n", sigismember(&pending, SIGUSR1), sigismember(&mask, SIGUSR1));
        _exit(0);
    }
    wait(NULL);
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("usr1 %d\n", usr1);
    return 0;
}
