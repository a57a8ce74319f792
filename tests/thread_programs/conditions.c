#include "check.h"

enum { CONSUMERS = 3, ITEMS = 200 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, emptied = PTHREAD_COND_INITIALIZER;
static int queue[4], used, over;
static long sum;

static void *consumes(void *unused) {
    MUST(pthread_mutex_lock(&lock));
    for (;;) {
        while (!used && !over)
            MUST(pthread_cond_wait(&filled, &lock));
        if (!used)
            break;
        sum += queue[--used];
        MUST(pthread_cond_signal(&emptied));
    }
    MUST(pthread_mutex_unlock(&lock));
    return unused;
}

static void times_out(clockid_t clock) {
    pthread_condattr_t attributes;
    pthread_cond_t never;
    MUST(pthread_condattr_init(&attributes));
    MUST(pthread_condattr_setclock(&attributes, clock));
    MUST(pthread_cond_init(&never, &attributes));
    MUST(pthread_mutex_lock(&lock));
    struct timespec soon = from_now(clock, 30), after;
    SHOW(pthread_cond_timedwait(&never, &lock, &soon));
    clock_gettime(clock, &after);
    printf("%s\n", after.tv_sec > soon.tv_sec || (after.tv_sec == soon.tv_sec && after.tv_nsec >= soon.tv_nsec)
                       ? "not before its time" : "too early");
    soon = from_now(CLOCK_MONOTONIC, 10);
    SHOW(pthread_cond_clockwait(&never, &lock, CLOCK_MONOTONIC, &soon));
    soon.tv_nsec = -1;
    SHOW(pthread_cond_timedwait(&never, &lock, &soon));
    MUST(pthread_mutex_unlock(&lock));
    SHOW(pthread_cond_destroy(&never));
}

int main(void) {
    pthread_t threads[CONSUMERS];
    for (int i = 0; i < CONSUMERS; i++)
        MUST(pthread_create(&threads[i], 0, consumes, 0));
    for (int i = 1; i <= ITEMS; i++) {
        MUST(pthread_mutex_lock(&lock));
        while (used == 4)
            MUST(pthread_cond_wait(&emptied, &lock));
        queue[used++] = i;
        MUST(pthread_cond_signal(&filled));
        MUST(pthread_mutex_unlock(&lock));
    }
    MUST(pthread_mutex_lock(&lock));
    over = 1;
    MUST(pthread_cond_broadcast(&filled));
    MUST(pthread_mutex_unlock(&lock));
    for (int i = 0; i < CONSUMERS; i++)
        MUST(pthread_join(threads[i], 0));
    printf("sum %ld\n", sum);
    times_out(CLOCK_REALTIME);
    times_out(CLOCK_MONOTONIC);
    return 0;
}
