/* Two threads take two locks in opposite order: a deadlock only if both have the first one. */
#include "check.h"

static pthread_mutex_t left = PTHREAD_MUTEX_INITIALIZER, right = PTHREAD_MUTEX_INITIALIZER;
static int work;

/* Long enough that a switch by chance hits it now and then. */
static void linger(void) {
    for (volatile int turn = 0; turn < 5000; turn++)
        continue;
}

static void *left_first(void *unused) {
    MUST(pthread_mutex_lock(&left));
    work++;
    linger();
    MUST(pthread_mutex_lock(&right));
    work++;
    MUST(pthread_mutex_unlock(&right));
    MUST(pthread_mutex_unlock(&left));
    return unused;
}

static void *right_first(void *unused) {
    MUST(pthread_mutex_lock(&right));
    work++;
    linger();
    MUST(pthread_mutex_lock(&left));
    work++;
    MUST(pthread_mutex_unlock(&left));
    MUST(pthread_mutex_unlock(&right));
    return unused;
}

int main(void) {
    pthread_t threads[2];
    MUST(pthread_create(&threads[0], 0, left_first, 0));
    MUST(pthread_create(&threads[1], 0, right_first, 0));
    MUST(pthread_join(threads[0], 0));
    MUST(pthread_join(threads[1], 0));
    printf("%d\n", work);
    return 0;
}
