/* Two hundred threads one after another, sixty at once; their stacks are used again. */
#include "check.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long total;

static void *works(void *argument) {
    char *block = malloc(1000 + (long)argument);
    memset(block, 1, 1000);
    MUST(pthread_mutex_lock(&lock));
    total += block[(long)argument];
    MUST(pthread_mutex_unlock(&lock));
    free(block);
    return argument;
}

int main(void) {
    pthread_t threads[60];
    void *result;
    for (long i = 0; i < 200; i++) {
        MUST(pthread_create(&threads[0], 0, works, (void *)i));
        MUST(pthread_join(threads[0], &result));
        if ((long)result != i)
            return 1;
    }
    for (long i = 0; i < 60; i++)
        MUST(pthread_create(&threads[i], 0, works, (void *)i));
    for (long i = 0; i < 60; i++)
        MUST(pthread_join(threads[i], &result));
    printf("%ld\n", total);
    return 0;
}
