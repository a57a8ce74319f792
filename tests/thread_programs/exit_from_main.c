/* main's thread ends first: the process goes on until the last one has ended, with status 0. */
#include "check.h"

static pthread_t first;

static void *survives(void *unused) {
    void *result;
    MUST(pthread_join(first, &result));
    printf("main ended with %s\n", (char *)result);
    return unused;
}

static void at_exit(void) { printf("at exit\n"); }

int main(void) {
    pthread_t thread;
    first = pthread_self();
    atexit(at_exit);
    MUST(pthread_create(&thread, 0, survives, 0));
    pthread_exit("pthread_exit");
}
