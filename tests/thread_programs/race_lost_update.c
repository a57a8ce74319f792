/* Each thread adds 1 ten times without a lock: some updates are lost if it is interrupted in between. */
#include "check.h"

static volatile int count;

static void *adds(void *unused) {
    for (int i = 0; i < 10; i++) {
        int seen = count;
        count = seen + 1;
    }
    return unused;
}

int main(void) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        MUST(pthread_create(&threads[i], 0, adds, 0));
    for (int i = 0; i < 3; i++)
        MUST(pthread_join(threads[i], 0));
    printf("%s\n", count == 30 ? "all" : "lost");
    return 0;
}
