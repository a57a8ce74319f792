#include "check.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key, again;
static atomic_int times, destroyed;

static void initialise(void) {
    sched_yield();
    times++;
}

static void destructor(void *block) {
    destroyed++;
    free(block);
}

/* Sets its own key again: called up to PTHREAD_DESTRUCTOR_ITERATIONS times. */
static void stubborn(void *count) {
    destroyed++;
    if ((long)count < 100)
        pthread_setspecific(again, (char *)count + 1);
}

static void *works(void *argument) {
    MUST(pthread_once(&once, initialise));
    if (times != 1)
        printf("not once\n");
    MUST(pthread_setspecific(key, malloc(24)));
    if (argument)
        MUST(pthread_setspecific(again, (void *)1));
    return 0;
}

int main(void) {
    pthread_t threads[6];
    MUST(pthread_key_create(&key, destructor));
    MUST(pthread_key_create(&again, stubborn));
    for (long i = 0; i < 6; i++)
        MUST(pthread_create(&threads[i], 0, works, (void *)(i == 5)));
    for (int i = 0; i < 6; i++)
        MUST(pthread_join(threads[i], 0));
    printf("once %d, destroyed %d\n", times, destroyed);
    MUST(pthread_key_delete(key));
    SHOW(pthread_setspecific(key, &key));
    int made = 0;
    pthread_key_t each;
    while (pthread_key_create(&each, 0) == 0)
        made++;
    printf("%d keys more\n", made);
    return 0;
}
