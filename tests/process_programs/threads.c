/* fork in a program with threads: only the forking thread lives on; atfork handlers run; exec ends the others. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile int ticks;

static void before(void) { pthread_mutex_lock(&mutex); }
static void after(void) { pthread_mutex_unlock(&mutex); }

static void *ticker(void *unused)
{
    for (;;) {
        pthread_mutex_lock(&mutex);
        ticks++;
        pthread_mutex_unlock(&mutex);
        usleep(100);
    }
    return unused;
}

static void *forker(void *unused)
{
    pid_t child = fork();
    if (child == 0) {
        int seen = ticks;
        usleep(10000);
        pthread_t another;
        pthread_mutex_lock(&mutex);
        printf("child: ticker stands still %d\n", seen == ticks);
        pthread_mutex_unlock(&mutex);
        pthread_create(&another, NULL, ticker, NULL);
        usleep(10000);
        printf("child: a new one ticks %d\n", seen != ticks);
        exit(4);
    }
    int status;
    waitpid(child, &status, 0);
    printf("status %d\n", WEXITSTATUS(status));
    return unused;
}

int main(void)
{
    pthread_t threads[3];
    setvbuf(stdout, NULL, _IONBF, 0);
    pthread_atfork(before, after, after);
    pthread_create(&threads[0], NULL, ticker, NULL);
    pthread_create(&threads[1], NULL, ticker, NULL);
    usleep(1000);
    pthread_create(&threads[2], NULL, forker, NULL);
    pthread_join(threads[2], NULL);
    int seen = ticks;
    usleep(10000);
    printf("parent: ticks on %d\n", seen != ticks);
    execl("/bin/echo", "echo", "alone", (char *)NULL);
    return 1;
}
