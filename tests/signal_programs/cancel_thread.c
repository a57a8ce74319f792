#include "common.h"

static void clean(void *argument) { puts("cleaned"); }
static void *sleeps(void *argument)
{
    pthread_cleanup_push(clean, NULL);
    sleep(1000);
    pthread_cleanup_pop(0);
    return NULL;
}
int main(void)
{
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, sleeps, NULL);
    usleep(50000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    printf("%d\n", result == PTHREAD_CANCELED);
    return 0;
}
