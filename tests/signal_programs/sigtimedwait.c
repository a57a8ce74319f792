#include "common.h"

int main(void)
{
    sigset_t set = set_of(SIGUSR1);
    siginfo_t info;
    struct timespec none = {0}, some = {0, 50000000};
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    printf("%s\n", err(sigtimedwait(&set, &info, &none)));
    printf("%s\n", err(sigtimedwait(&set, &info, &some)));
    sigqueue(getpid(), SIGRTMIN, (union sigval){5});
    sigqueue(getpid(), SIGRTMIN, (union sigval){6});
    kill(getpid(), SIGUSR1);
    for (int i = 0; i < 3; i++) {
        int number = sigwaitinfo(&set, &info);
        printf("%d %d %d\n", number - info.si_signo, info.si_code, info.si_code == SI_QUEUE ? info.si_value.sival_int : 0);
    }
    arm(20000, 0);
    printf("%d\n", sigwaitinfo(&set, &info));
    on(SIGHUP, says, SA_RESTART);
    on(SIGVTALRM, says, 0);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGHUP};
    struct itimerspec when = {{0}, {0, 20000000}};
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &when, NULL);
    printf("%s\n", err(sigwaitinfo(&set, &info)));
    int number = 0;
    kill(getpid(), SIGUSR1);
    printf("%d %d\n", sigwait(&set, &number), number);
    return 0;
}
