#include "check.h"

enum { THREADS = 5, ROUNDS = 50 };
static pthread_barrier_t barrier;
static atomic_int arrived, serial, early;

static void *meets(void *unused) {
    for (int i = 1; i <= ROUNDS; i++) {
        arrived++;
        int told = pthread_barrier_wait(&barrier);
        if (told == PTHREAD_BARRIER_SERIAL_THREAD)
            serial++;
        if (arrived < i * THREADS)
            early++;
        pthread_barrier_wait(&barrier);
    }
    return unused;
}

int main(void) {
    pthread_t threads[THREADS];
    SHOW(pthread_barrier_init(&barrier, 0, 0));
    MUST(pthread_barrier_init(&barrier, 0, THREADS));
    for (int i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], 0, meets, 0));
    for (int i = 0; i < THREADS; i++)
        MUST(pthread_join(threads[i], 0));
    printf("arrived %d, serial %d, early %d\n", arrived, serial, early);
    SHOW(pthread_barrier_destroy(&barrier));
    return 0;
}
