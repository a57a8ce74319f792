/* Each thread returns its result through pthread_join; the last one is read and never freed. */
/* FLAGS -pthread */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct sum {
    long from, to, value;
};

static void *add(void *argument)
{
    struct sum *sum = malloc(sizeof *sum); /* EXPECT leak definitely-lost bytes=24 blocks=1 */ /* VALGRIND differs: it finds the result in the struct pthread that glibc keeps for the next thread */
    sum->from = (long)argument * 100;
    sum->to = sum->from + 100;
    sum->value = 0;
    for (long i = sum->from; i < sum->to; i++)
        sum->value += i;
    return sum;
}

__attribute__((noinline)) static long collect(pthread_t thread, int keep)
{
    void *result;
    pthread_join(thread, &result);
    long value = ((struct sum *)result)->value;
    if (!keep)
        free(result);
    return value;
}

int main(void)
{
    pthread_t threads[3];
    long total = 0;
    for (long i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, add, (void *)i);
    for (int i = 0; i < 3; i++)
        total += collect(threads[i], i == 2);
    printf("%ld\n", total);
    return 0;
}
