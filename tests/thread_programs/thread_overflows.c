/* A thread runs into the guard page of its stack. */
#include "check.h"

static int deep(int n) {
    volatile char room[4096];
    room[0] = (char)n;
    return deep(n + 1) + room[0];
}

static void *overflows(void *unused) {
    printf("%d\n", deep(0));
    return unused;
}

int main(void) {
    pthread_t thread;
    MUST(pthread_create(&thread, 0, overflows, 0));
    MUST(pthread_join(thread, 0));
    return 0;
}
