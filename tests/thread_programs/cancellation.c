#include "check.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static atomic_int ready;

static void cleanup(void *name) { printf("cleanup %s\n", (const char *)name); }
static void unlock(void *mutex) { printf("unlock: %s\n", pthread_mutex_unlock(mutex) ? "failed" : "ok"); }

static void *in_sleep(void *unused) {
    pthread_cleanup_push(cleanup, "outer");
    pthread_cleanup_push(free, malloc(100));
    ready = 1;
    sleep(1000);
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(1);
    return unused;
}

static void *in_condition(void *unused) {
    pthread_mutex_lock(&lock);
    pthread_cleanup_push(unlock, &lock);
    ready = 1;
    for (;;)
        pthread_cond_wait(&never, &lock);
    pthread_cleanup_pop(1);
    return unused;
}

static void *in_read(void *pipe_) {
    char byte;
    pthread_cleanup_push(cleanup, "reader");
    ready = 1;
    read(*(int *)pipe_, &byte, 1);
    pthread_cleanup_pop(0);
    return 0;
}

static void *asynchronous(void *unused) {
    pthread_cleanup_push(cleanup, "asynchronous");
    MUST(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, 0));
    ready = 1;
    for (;;)
        ;
    pthread_cleanup_pop(0);
    return unused;
}

static void *disabled(void *unused) {
    int old;
    MUST(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old));
    ready = 1;
    while (ready == 1)
        usleep(100);
    printf("still here\n");
    MUST(pthread_setcancelstate(old, 0));
    pthread_testcancel();
    printf("never here\n");
    return unused;
}

static void *in_join(void *thread) {
    ready = 1;
    pthread_join(*(pthread_t *)thread, 0);
    return 0;
}

static void run(const char *name, void *(*function)(void *), void *argument) {
    pthread_t thread;
    void *result;
    ready = 0;
    MUST(pthread_create(&thread, 0, function, argument));
    while (!ready)
        sched_yield();
    MUST(pthread_cancel(thread));
    ready = 2;
    MUST(pthread_join(thread, &result));
    printf("%s: %s\n", name, result == PTHREAD_CANCELED ? "cancelled" : "returned");
}

int main(void) {
    int ends[2];
    pthread_t self = pthread_self();
    if (pipe(ends))
        return 1;
    run("sleep", in_sleep, 0);
    run("condition", in_condition, 0);
    SHOW(pthread_mutex_trylock(&lock));
    run("read", in_read, &ends[0]);
    run("asynchronous", asynchronous, 0);
    run("disabled", disabled, 0);
    run("join", in_join, &self);
    return 0;
}
