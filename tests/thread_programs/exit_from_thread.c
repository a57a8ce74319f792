#include "check.h"

static void at_exit(void) { printf("at exit\n"); }

static void *ends_all(void *unused) {
    (void)unused;
    exit(7);
}

int main(void) {
    pthread_t thread;
    atexit(at_exit);
    MUST(pthread_create(&thread, 0, ends_all, 0));
    MUST(pthread_join(thread, 0));
    printf("never here\n");
}
