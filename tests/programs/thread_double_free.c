/* Two threads share a configuration and each frees it when done. */
/* FLAGS -pthread */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct config {
    int verbose, level;
};

static void *first(void *argument)
{
    struct config *config = argument;
    int level = config->level;
    free(config);
    return (void *)(long)level;
}

static void *second(void *argument)
{
    free(argument); /* EXPECT double-free */
    return NULL;
}

int main(void)
{
    struct config *config = malloc(sizeof *config);
    config->verbose = 1;
    config->level = 7;
    pthread_t thread;
    void *level;
    pthread_create(&thread, NULL, first, config);
    pthread_join(thread, &level);
    pthread_create(&thread, NULL, second, config);
    pthread_join(thread, NULL);
    printf("level %ld\n", (long)level);
    return 0;
}
