#include "common.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static void tick(union sigval value)
{
    pthread_mutex_lock(&lock);
    count += value.sival_int;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}
int main(void)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = tick, .sigev_value = {5}};
    struct itimerspec when = {{0}, {0, 10000000}};
    printf("%s\n", err(timer_create(CLOCK_MONOTONIC, &event, &timer)));
    timer_settime(timer, 0, &when, NULL);
    pthread_mutex_lock(&lock);
    while (!count) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    printf("%d\n", (int)count);
    return 0;
}
