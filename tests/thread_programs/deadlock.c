/* Every thread waits for another, each in a way of its own. */
#include "check.h"

struct object {
    int number;
    pthread_mutex_t lock;
} *object;
static pthread_mutex_t left = PTHREAD_MUTEX_INITIALIZER, right = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t of_never = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static int ends[2];

static void *right_first(void *unused) {
    MUST(pthread_mutex_lock(&right));
    sched_yield();
    MUST(pthread_mutex_lock(&left));
    return unused;
}

static void *left_first(void *unused) {
    MUST(pthread_mutex_lock(&left));
    sched_yield();
    MUST(pthread_mutex_lock(&right));
    return unused;
}

static void *on_condition(void *unused) {
    MUST(pthread_mutex_lock(&of_never));
    MUST(pthread_cond_wait(&never, &of_never));
    return unused;
}

static void *on_itself(void *unused) {
    MUST(pthread_mutex_lock(&object->lock));
    MUST(pthread_mutex_lock(&object->lock));
    return unused;
}

static void *on_pipe(void *unused) {
    char byte;
    read(ends[0], &byte, 1);
    return unused;
}

static void *on_signal(void *unused) {
    pause();
    return unused;
}

int main(void) {
    void *(*functions[])(void *) = {right_first, left_first, on_condition, on_itself, on_pipe, on_signal};
    pthread_t threads[6];
    object = calloc(1, sizeof *object);
    MUST(pthread_mutex_init(&object->lock, 0));
    MUST(pipe(ends));
    for (int i = 0; i < 6; i++)
        MUST(pthread_create(&threads[i], 0, functions[i], 0));
    for (int i = 0; i < 6; i++)
        MUST(pthread_join(threads[i], 0));
    return 0;
}
