#include "check.h"

enum { READERS = 4, WRITERS = 2, ROUNDS = 200 };
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static long first, second;
static atomic_int torn;

static void *reads(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        MUST(pthread_rwlock_rdlock(&lock));
        if (first != second)
            torn++;
        if (i % 20 == 0)
            sched_yield();
        MUST(pthread_rwlock_unlock(&lock));
    }
    return unused;
}

static void *writes(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        MUST(pthread_rwlock_wrlock(&lock));
        first++;
        sched_yield();
        second++;
        MUST(pthread_rwlock_unlock(&lock));
    }
    return unused;
}

static void *tries(void *unused) {
    struct timespec soon = from_now(CLOCK_REALTIME, 10);
    SHOW(pthread_rwlock_tryrdlock(&lock));
    SHOW(pthread_rwlock_trywrlock(&lock));
    SHOW(pthread_rwlock_timedrdlock(&lock, &soon));
    SHOW(pthread_rwlock_timedwrlock(&lock, &soon));
    return unused;
}

int main(void) {
    pthread_t threads[READERS + WRITERS], other;
    for (int i = 0; i < READERS + WRITERS; i++)
        MUST(pthread_create(&threads[i], 0, i < READERS ? reads : writes, 0));
    for (int i = 0; i < READERS + WRITERS; i++)
        MUST(pthread_join(threads[i], 0));
    printf("%ld %ld, torn %d\n", first, second, torn);
    MUST(pthread_rwlock_wrlock(&lock));
    SHOW(pthread_rwlock_rdlock(&lock));
    MUST(pthread_create(&other, 0, tries, 0));
    MUST(pthread_join(other, 0));
    MUST(pthread_rwlock_unlock(&lock));

    pthread_rwlockattr_t attributes;
    MUST(pthread_rwlockattr_init(&attributes));
    MUST(pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP));
    MUST(pthread_rwlock_destroy(&lock));
    MUST(pthread_rwlock_init(&lock, &attributes));
    MUST(pthread_rwlock_rdlock(&lock));
    SHOW(pthread_rwlock_tryrdlock(&lock));
    return 0;
}
