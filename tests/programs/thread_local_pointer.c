/* Pointers in thread-local storage: main's is still reachable at the end, a joined thread's is gone with it. */
/* FLAGS -pthread */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static __thread char *buffer;

__attribute__((noinline)) static char *for_main(void)
{
    if (!buffer)
        buffer = malloc(64); /* EXPECT leak still-reachable bytes=64 blocks=1 */
    return buffer;
}

__attribute__((noinline)) static const char *name(int number)
{
    char *text = for_main();
    snprintf(text, 64, "number %d", number);
    return text;
}

static void *work(void *unused)
{
    (void)unused;
    buffer = malloc(32);
    snprintf(buffer, 32, "in a thread");
    puts(buffer);
    free(buffer);
    return NULL;
}

int main(void)
{
    pthread_t thread;
    puts(name(1));
    pthread_create(&thread, NULL, work, NULL);
    pthread_join(thread, NULL);
    puts(name(2));
    return 0;
}
