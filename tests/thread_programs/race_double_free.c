/* Two threads release the same block: the check and the free are two steps. */
#include "check.h"

static char *volatile shared;

static void *releases(void *unused) {
    char *mine = shared;
    if (mine) {
        memset(mine, 0, 40);
        for (int i = 0; i < 10; i++)
            mine[i] = 1;
        free(mine);
        shared = 0;
    }
    return unused;
}

int main(void) {
    pthread_t threads[2];
    shared = malloc(40);
    for (int i = 0; i < 2; i++)
        MUST(pthread_create(&threads[i], 0, releases, 0));
    for (int i = 0; i < 2; i++)
        MUST(pthread_join(threads[i], 0));
    return 0;
}
