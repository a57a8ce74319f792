/* Locks in memory that processes share: one ends while it holds them, another waits for a lock that the first gives up. */
#define _GNU_SOURCE
#include "check.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct shared {
    pthread_mutex_t robust, inherit;
    pthread_cond_t changed;
    pthread_barrier_t barrier;
    int value;
};

static struct shared *shared;

static void init(pthread_mutex_t *mutex, int robust, int protocol) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, robust);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    MUST(pthread_mutex_init(mutex, &attributes));
}

static void child(void (*function)(void)) {
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        function();
        _exit(0);
    }
}

static void dies_with_it(void) {
    pthread_mutex_lock(&shared->robust);
    pthread_barrier_wait(&shared->barrier);
    usleep(1000);
    raise(SIGKILL);
}

static void holds_for_a_while(void) {
    pthread_mutex_lock(&shared->inherit);
    pthread_barrier_wait(&shared->barrier);
    usleep(1000);
    shared->value = 7;
    pthread_mutex_unlock(&shared->inherit);
}

static void signals(void) {
    pthread_mutex_lock(&shared->inherit);
    shared->value = 8;
    pthread_cond_signal(&shared->changed);
    pthread_mutex_unlock(&shared->inherit);
}

/* Spins on shared memory until its parent acts: neither calls the kernel. */
static void spins(void) {
    while (__atomic_load_n(&shared->value, __ATOMIC_ACQUIRE) != 9)
        ;
    __atomic_store_n(&shared->value, 10, __ATOMIC_RELEASE);
}

int main(void) {
    pthread_condattr_t condition;
    pthread_barrierattr_t barrier;
    shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    init(&shared->robust, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
    init(&shared->inherit, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT);
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&shared->changed, &condition);
    pthread_barrierattr_init(&barrier);
    pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->barrier, &barrier, 2);

    child(dies_with_it);
    pthread_barrier_wait(&shared->barrier);
    SHOW(pthread_mutex_lock(&shared->robust));
    SHOW(pthread_mutex_consistent(&shared->robust));
    SHOW(pthread_mutex_unlock(&shared->robust));
    wait(0);

    child(holds_for_a_while);
    pthread_barrier_wait(&shared->barrier);
    SHOW(pthread_mutex_lock(&shared->inherit));
    printf("%d\n", shared->value);
    child(signals);
    while (shared->value != 8)
        pthread_cond_wait(&shared->changed, &shared->inherit);
    SHOW(pthread_mutex_unlock(&shared->inherit));
    while (wait(0) > 0)
        ;

    child(spins);
    __atomic_store_n(&shared->value, 9, __ATOMIC_RELEASE);
    while (__atomic_load_n(&shared->value, __ATOMIC_ACQUIRE) != 10)
        ;
    wait(0);
    printf("%d\n", shared->value);
    return 0;
}
