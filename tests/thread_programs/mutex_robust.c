#include "check.h"

static pthread_mutex_t lock;
static pthread_barrier_t taken;

static void *dies_holding(void *waits) {
    MUST(pthread_mutex_lock(&lock));
    if (waits)
        pthread_barrier_wait(&taken);
    return 0;
}

static void *waits_for_it(void *unused) {
    pthread_barrier_wait(&taken);
    SHOW(pthread_mutex_lock(&lock));
    SHOW(pthread_mutex_consistent(&lock));
    SHOW(pthread_mutex_unlock(&lock));
    return unused;
}

static void round_(int protocol) {
    pthread_mutexattr_t attributes;
    pthread_t owner, waiter;
    MUST(pthread_mutexattr_init(&attributes));
    MUST(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    MUST(pthread_mutexattr_setprotocol(&attributes, protocol));
    MUST(pthread_mutex_init(&lock, &attributes));
    MUST(pthread_create(&owner, 0, dies_holding, 0));
    MUST(pthread_join(owner, 0));
    SHOW(pthread_mutex_trylock(&lock));
    SHOW(pthread_mutex_consistent(&lock));
    SHOW(pthread_mutex_unlock(&lock));
    /* Somebody waits when the owner ends. */
    MUST(pthread_barrier_init(&taken, 0, 2));
    MUST(pthread_create(&owner, 0, dies_holding, "waits"));
    MUST(pthread_create(&waiter, 0, waits_for_it, 0));
    MUST(pthread_join(owner, 0));
    MUST(pthread_join(waiter, 0));
    /* Not made consistent: nobody can ever use it again. */
    MUST(pthread_create(&owner, 0, dies_holding, 0));
    MUST(pthread_join(owner, 0));
    SHOW(pthread_mutex_lock(&lock));
    SHOW(pthread_mutex_unlock(&lock));
    SHOW(pthread_mutex_lock(&lock));
    SHOW(pthread_mutex_destroy(&lock));
}

int main(void) {
    round_(PTHREAD_PRIO_NONE);
    round_(PTHREAD_PRIO_INHERIT);
    return 0;
}
