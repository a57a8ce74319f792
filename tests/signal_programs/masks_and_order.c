#include "common.h"

static void handler(int number, siginfo_t *info, void *context)
{
    sigset_t now, pending;
    sigprocmask(SIG_BLOCK, NULL, &now);
    sigpending(&pending);
    printf("%d value %d blocked", number - SIGRTMIN, info->si_code == SI_QUEUE ? info->si_value.sival_int : -1);
    for (int i = 1; i <= 64; i++) if (sigismember(&now, i) == 1) printf(" %d", i);
    printf(" pending");
    for (int i = 1; i <= 64; i++) if (sigismember(&pending, i) == 1) printf(" %d", i);
    puts("");
}
int main(void)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigset_t all, empty;
    sigfillset(&all);
    sigemptyset(&empty);
    sigaddset(&action.sa_mask, SIGHUP);
    sigaction(SIGRTMIN, &action, NULL);
    sigaction(SIGRTMIN + 1, &action, NULL);
    action.sa_flags |= SA_NODEFER;
    sigaction(SIGUSR2, &action, NULL);
    action.sa_mask = all;
    sigaction(SIGUSR1, &action, NULL);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (int i = 0; i < 3; i++) {
        sigqueue(getpid(), SIGRTMIN + 1, (union sigval){i});
        sigqueue(getpid(), SIGRTMIN, (union sigval){10 + i});
        kill(getpid(), SIGUSR1);
        raise(SIGUSR2);
    }
    sigprocmask(SIG_SETMASK, &empty, NULL);
    raise(SIGUSR2);
    puts("end");
    return 0;
}
