/* A thread loses one block and hands another over: LEAK says which line. */
#include "check.h"

static void *loses(void *unused) {
    (void)unused;
    char *lost = malloc(33); /* lost with the thread's stack */
    lost[0] = 1;
    return malloc(21);
}

int main(void) {
    pthread_t thread;
    void *handed;
    MUST(pthread_create(&thread, 0, loses, 0));
    MUST(pthread_join(thread, &handed));
    free(handed);
    printf("done\n");
    return 0;
}
