/* A timer's handler that frees what has grown old, while the program sleeps. */
/* CLEAN */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static char *entries[3];
static volatile sig_atomic_t ticks;

static void on_tick(int number)
{
    int oldest = ticks++;
    if (oldest < 3) {
        free(entries[oldest]);
        entries[oldest] = NULL;
    }
}

int main(void)
{
    struct itimerval every = {{0, 20000}, {0, 20000}}, off;
    memset(&off, 0, sizeof off);
    for (int i = 0; i < 3; i++)
        entries[i] = calloc(1, 50);
    signal(SIGALRM, on_tick);
    setitimer(ITIMER_REAL, &every, NULL);
    while (ticks < 3)
        pause();
    setitimer(ITIMER_REAL, &off, NULL);
    printf("%d\n", entries[0] == NULL && entries[1] == NULL && entries[2] == NULL);
    return 0;
}
