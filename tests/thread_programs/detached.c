#include "check.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static int left = 20;

static void *works(void *unused) {
    MUST(pthread_mutex_lock(&lock));
    if (!--left)
        MUST(pthread_cond_signal(&ended));
    MUST(pthread_mutex_unlock(&lock));
    return unused;
}

static void *detaches_itself(void *unused) {
    MUST(pthread_detach(pthread_self()));
    return works(unused);
}

static void *returns(void *value) { return value; }

int main(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    void *result;
    MUST(pthread_attr_init(&attributes));
    MUST(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED));
    MUST(pthread_attr_setstacksize(&attributes, 64 * 1024));
    for (int i = 0; i < 10; i++) {
        MUST(pthread_create(&thread, &attributes, works, 0));
        MUST(pthread_create(&thread, 0, detaches_itself, 0));
    }
    MUST(pthread_mutex_lock(&lock));
    while (left)
        MUST(pthread_cond_wait(&ended, &lock));
    MUST(pthread_mutex_unlock(&lock));
    MUST(pthread_create(&thread, 0, returns, "value"));
    while (pthread_tryjoin_np(thread, &result) == EBUSY)
        ;
    printf("%s\n", (char *)result);
    MUST(pthread_create(&thread, 0, returns, "timed"));
    struct timespec later = from_now(CLOCK_REALTIME, 10000);
    MUST(pthread_timedjoin_np(thread, &result, &later));
    printf("%s\n", (char *)result);
    SHOW(pthread_join(pthread_self(), 0));
    return 0;
}
