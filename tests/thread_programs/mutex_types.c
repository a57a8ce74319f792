#include "check.h"

static pthread_mutex_t lock;

static void *try_it(void *what) {
    SHOW(pthread_mutex_trylock(&lock));
    SHOW(pthread_mutex_unlock(&lock));
    return what;
}

static void *time_out(void *what) {
    struct timespec soon = from_now(CLOCK_REALTIME, 20);
    SHOW(pthread_mutex_timedlock(&lock, &soon));
    soon = from_now(CLOCK_MONOTONIC, 20);
    SHOW(pthread_mutex_clocklock(&lock, CLOCK_MONOTONIC, &soon));
    return what;
}

static void elsewhere(void *(*function)(void *)) {
    pthread_t thread;
    MUST(pthread_create(&thread, 0, function, 0));
    MUST(pthread_join(thread, 0));
}

static void all(int type, int protocol, const char *name) {
    pthread_mutexattr_t attributes;
    MUST(pthread_mutexattr_init(&attributes));
    MUST(pthread_mutexattr_settype(&attributes, type));
    MUST(pthread_mutexattr_setprotocol(&attributes, protocol));
    MUST(pthread_mutex_init(&lock, &attributes));
    printf("-- %s\n", name);
    SHOW(pthread_mutex_lock(&lock));
    if (type == PTHREAD_MUTEX_ERRORCHECK || type == PTHREAD_MUTEX_RECURSIVE) {
        SHOW(pthread_mutex_lock(&lock));
        elsewhere(try_it);
    }
    elsewhere(time_out);
    if (type == PTHREAD_MUTEX_RECURSIVE)
        SHOW(pthread_mutex_unlock(&lock));
    SHOW(pthread_mutex_unlock(&lock));
    if (type != PTHREAD_MUTEX_NORMAL && type != PTHREAD_MUTEX_ADAPTIVE_NP)
        SHOW(pthread_mutex_unlock(&lock));
    MUST(pthread_mutex_destroy(&lock));
}

int main(void) {
    for (int protocol = PTHREAD_PRIO_NONE; protocol <= PTHREAD_PRIO_INHERIT; protocol++) {
        all(PTHREAD_MUTEX_NORMAL, protocol, "normal");
        all(PTHREAD_MUTEX_RECURSIVE, protocol, "recursive");
        all(PTHREAD_MUTEX_ERRORCHECK, protocol, "errorcheck");
        all(PTHREAD_MUTEX_ADAPTIVE_NP, protocol, "adaptive");
    }
    return 0;
}
