#include "common.h"

static void handler(int number, siginfo_t *info, void *context)
{
    printf("%d code %d value %d overrun %d\n", number - SIGRTMIN, info->si_code, info->si_value.sival_int,
           info->si_overrun >= 4 && info->si_overrun < 9);
    count++;
}
int main(void)
{
    timer_t timer, other;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value = {17}};
    struct itimerspec when = {{0, 10000000}, {0, 10000000}}, left, off = {{0}};
    struct timespec pause_ = {0, 55000000};
    on(SIGRTMIN, handler, 0);
    on(SIGALRM, says, 0);
    printf("%s\n", err(timer_create(CLOCK_MONOTONIC, &event, &timer)));
    block(SIG_BLOCK, SIGRTMIN);
    timer_settime(timer, 0, &when, NULL);
    nanosleep(&pause_, NULL);
    timer_gettime(timer, &left);
    printf("%d %d\n", left.it_interval.tv_nsec == 10000000, left.it_value.tv_nsec <= 10000000 && left.it_value.tv_nsec > 0);
    block(SIG_UNBLOCK, SIGRTMIN);
    printf("%d\n", timer_getoverrun(timer) >= 4);
    timer_settime(timer, 0, &off, NULL);
    timer_create(CLOCK_REALTIME, NULL, &other);
    clock_gettime(CLOCK_REALTIME, &when.it_value);
    when.it_interval.tv_nsec = 0;
    when.it_value.tv_sec += 1;
    timer_settime(other, TIMER_ABSTIME, &when, NULL);
    printf("%s\n", err(pause()));
    printf("%s %s\n", err(timer_delete(other)), err(syscall(SYS_timer_delete, 12345)));
    event.sigev_signo = 100;
    printf("%s\n", err(timer_create(CLOCK_MONOTONIC, &event, &other)));
    printf("%s\n", err(timer_create(77, NULL, &other)));
    return 0;
}
