/* The one thread waits for a timer and does nothing else. */
#include "check.h"
#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t rang, virtual_;

static void handler(int number) {
    if (number == SIGALRM)
        rang++;
    else
        virtual_++;
}

int main(void) {
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    double product = 1;
    struct timespec start, end;
    signal(SIGALRM, handler);
    signal(SIGVTALRM, handler);
    clock_gettime(CLOCK_MONOTONIC, &start);
    alarm(1);
    while (!rang)
        ;
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("rang after %ld s\n", end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 500000000);
    rang = 0;
    setitimer(ITIMER_REAL, &often, 0);
    while (rang < 20)
        product = product * 1.25 / 1.25;
    setitimer(ITIMER_REAL, &never, 0);
    setitimer(ITIMER_VIRTUAL, &often, 0);
    while (virtual_ < 5)
        ;
    printf("%g %d\n", product, rang >= 20);
    return 0;
}
