/* Signals that the process sends to itself, and how they end what waits. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

static void ignore(int number) { (void)number; }

int main(int argc, char **argv)
{
    static char stack[16384];
    struct sigaction action = {.sa_handler = ignore};
    sigset_t set;

    sigaction(SIGUSR1, &action, NULL);
    action.sa_flags = SA_RESTART | SA_NODEFER;
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGRTMIN);
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGALRM, NULL, &action);
    signal(SIGCHLD, SIG_IGN);
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    kill(getpid(), SIGUSR1);
    raise(SIGUSR1);
    raise(SIGURG);
    sigfillset(&set);
    sigdelset(&set, SIGALRM);
    sigprocmask(SIG_SETMASK, &set, NULL);
    raise(SIGUSR1);
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, &set);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 20000}}, NULL);
    pause();
    sigaddset(&set, SIGUSR1);
    kill(getpid(), 0);
    kill(getpid(), 99);
    switch (argc > 1 ? argv[1][0] : 'x') {
    case 's': *(volatile int *)8 = 1; break;
    case 'a': abort();
    case 'k': kill(getpid(), SIGKILL); break;
    case 't': raise(SIGTERM); break;
    case 'f': return *(volatile int *)8 / (argc - 2);
    }
    return 0;
}
