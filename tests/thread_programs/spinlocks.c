/* Threads that never call the kernel while they wait. */
#include "check.h"

enum { THREADS = 4, ROUNDS = 2000 };
static pthread_spinlock_t lock;
static atomic_flag own = ATOMIC_FLAG_INIT;
static atomic_int go, turn;
static long sum, other;

static void *works(void *argument) {
    long number = (long)argument;
    while (!atomic_load(&go))
        ;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_spin_lock(&lock);
        sum++;
        pthread_spin_unlock(&lock);
        while (atomic_flag_test_and_set(&own))
            __builtin_ia32_pause();
        other += number;
        atomic_flag_clear(&own);
    }
    for (int i = 0; i < 5; i++) { /* strictly in turn */
        while (atomic_load(&turn) % THREADS != number)
            ;
        atomic_fetch_add(&turn, 1);
    }
    return 0;
}

int main(void) {
    pthread_t threads[THREADS];
    MUST(pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE));
    for (long i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], 0, works, (void *)i));
    atomic_store(&go, 1);
    while (atomic_load(&turn) < 5 * THREADS)
        ;
    for (int i = 0; i < THREADS; i++)
        MUST(pthread_join(threads[i], 0));
    MUST(pthread_spin_lock(&lock));
    SHOW(pthread_spin_trylock(&lock));
    printf("%ld %ld %d\n", sum, other, turn);
    return 0;
}
