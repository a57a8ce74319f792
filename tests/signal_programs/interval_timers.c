#include "common.h"

int main(void)
{
    struct itimerval now;
    on(SIGALRM, says, 0);
    arm(30000, 10000);
    getitimer(ITIMER_REAL, &now);
    printf("%d %d\n", now.it_interval.tv_usec == 10000, now.it_value.tv_usec <= 30000 && now.it_value.tv_usec > 20000);
    while (count < 4) pause();
    arm(0, 0);
    getitimer(ITIMER_REAL, &now);
    printf("%ld %ld\n", now.it_value.tv_sec, now.it_value.tv_usec);
    printf("%u\n", alarm(10));
    printf("%u\n", alarm(0));
    printf("%s\n", err(setitimer(9, &now, NULL)));
    now.it_value.tv_usec = 1000000;
    printf("%s\n", err(setitimer(ITIMER_REAL, &now, NULL)));
    puts("end");
    fflush(stdout);
    signal(SIGALRM, SIG_DFL);
    alarm(1);
    sleep(5);
    return 0;
}
