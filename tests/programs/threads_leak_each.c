/* Every thread leaks its own block and frees one that another thread made. */
/* FLAGS -pthread */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 4

struct job {
    int number;
    int *numbers;
    long sum;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long total;

__attribute__((noinline)) static long forget(int number)
{
    long *scratch = malloc(100); /* EXPECT leak definitely-lost bytes=400 blocks=4 */
    for (int i = 0; i < 10; i++)
        scratch[i] = number * i;
    return scratch[9];
}

static void *work(void *argument)
{
    struct job *job = argument;
    for (int i = 0; i < 100; i++)
        job->sum += job->numbers[i];
    free(job->numbers); /* made by main */
    job->sum += forget(job->number);
    pthread_mutex_lock(&lock);
    total += job->sum;
    pthread_mutex_unlock(&lock);
    return malloc(10 + job->number); /* freed by main */
}

int main(void)
{
    pthread_t threads[THREADS];
    struct job jobs[THREADS];
    for (int t = 0; t < THREADS; t++) {
        jobs[t] = (struct job){t, calloc(100, sizeof(int)), 0};
        for (int i = 0; i < 100; i++)
            jobs[t].numbers[i] = t + i;
        pthread_create(&threads[t], NULL, work, &jobs[t]);
    }
    for (int t = 0; t < THREADS; t++) {
        void *result;
        pthread_join(threads[t], &result);
        free(result);
    }
    printf("%ld\n", total);
    return 0;
}
