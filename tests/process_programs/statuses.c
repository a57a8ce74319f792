/* What wait(2) tells: exits, signals, stops, WNOHANG, WNOWAIT, groups, ignored SIGCHLD. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int said(long result, int error)
{
    return result == -1 && errno == error;
}

static void tell(const char *what, int status)
{
    printf("%s: exited %d/%d signalled %d/%d stopped %d/%d continued %d\n", what, WIFEXITED(status),
           WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status),
           WIFSIGNALED(status) ? WTERMSIG(status) : 0, WIFSTOPPED(status),
           WIFSTOPPED(status) ? WSTOPSIG(status) : 0, WIFCONTINUED(status));
}

static pid_t sleeper(void)
{
    pid_t child = fork();
    if (child == 0) {
        for (;;)
            pause();
    }
    return child;
}

int main(void)
{
    int status;
    siginfo_t info;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    setvbuf(stdout, NULL, _IONBF, 0);

    if (fork() == 0)
        exit(300);
    wait(&status);
    tell("exit(300)", status);
    if (fork() == 0)
        abort();
    wait(&status);
    tell("abort", status);
    if (fork() == 0)
        *(volatile int *)0 = 1;
    wait(&status);
    tell("segv", status);

    pid_t child = sleeper();
    printf("nohang %d\n", waitpid(child, &status, WNOHANG));
    kill(child, SIGSTOP);
    waitpid(child, &status, WUNTRACED);
    tell("stop", status);
    printf("once %d\n", waitpid(child, &status, WUNTRACED | WNOHANG));
    kill(child, SIGCONT);
    waitpid(child, &status, WCONTINUED);
    tell("cont", status);
    kill(child, SIGTERM);
    memset(&info, 0, sizeof info);
    printf("waitid %d\n", waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
    printf("signo %d code %d status %d pid %d\n", info.si_signo == SIGCHLD, info.si_code == CLD_KILLED, info.si_status,
           info.si_pid == child);
    waitpid(child, &status, 0);
    tell("term", status);
    printf("gone %d\n", said(waitpid(child, &status, 0), ECHILD));
    printf("kill %d\n", said(kill(child, 0), ESRCH));

    child = sleeper();
    setpgid(child, child);
    printf("group %d\n", getpgid(child) == child);
    printf("own group %d\n", said(waitpid(0, &status, WNOHANG), ECHILD));
    kill(-child, SIGKILL);
    printf("its group %d\n", waitpid(-child, &status, 0) == child);
    tell("kill", status);

    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 3; i++)
        if (fork() == 0)
            _exit(i);
    printf("ignored %d\n", said(wait(&status), ECHILD));
    signal(SIGCHLD, SIG_DFL);
    struct rusage usage;
    if (fork() == 0)
        _exit(9);
    printf("wait4 %d\n", wait4(-1, &status, 0, &usage) > 0);
    tell("wait4", status);
    printf("bad %d\n", said(waitpid(-1, &status, 0x100), EINVAL));
    return 0;
}
