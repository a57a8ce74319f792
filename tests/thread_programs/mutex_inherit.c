/* Contention on a lock with priority inheritance; signals meanwhile must not let anybody in. */
#include "check.h"
#include <signal.h>

enum { THREADS = 4, ROUNDS = 300 };
static pthread_mutex_t lock;
static long sum;
static atomic_int inside, handled;

static void handler(int number) {
    (void)number;
    handled++;
}

static void *works(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        MUST(pthread_mutex_lock(&lock));
        if (++inside != 1)
            printf("two threads hold the lock\n");
        long seen = sum;
        if (i % 10 == 0)
            sched_yield();
        sum = seen + 1;
        inside--;
        MUST(pthread_mutex_unlock(&lock));
    }
    return unused;
}

int main(void) {
    pthread_mutexattr_t attributes;
    pthread_t threads[THREADS];
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, 0);
    MUST(pthread_mutexattr_init(&attributes));
    MUST(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
    MUST(pthread_mutex_init(&lock, &attributes));
    MUST(pthread_mutex_lock(&lock));
    for (int i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], 0, works, 0));
    usleep(20000); /* now they wait */
    for (int i = 0; i < THREADS; i++)
        MUST(pthread_kill(threads[i], SIGUSR1));
    while (handled != THREADS)
        sched_yield();
    MUST(pthread_mutex_unlock(&lock));
    for (int i = 0; i < THREADS; i++)
        MUST(pthread_join(threads[i], 0));
    printf("%ld, %d handled\n", sum, handled);
    return 0;
}
