#include "check.h"

int main(void) {
    pthread_mutexattr_t attributes;
    pthread_mutex_t lock;
    int ceiling;
    MUST(pthread_mutexattr_init(&attributes));
    SHOW(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_PROTECT));
    SHOW(pthread_mutexattr_getprioceiling(&attributes, &ceiling));
    printf("ceiling %d\n", ceiling);
    SHOW(pthread_mutexattr_setprioceiling(&attributes, 1000));
    SHOW(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    SHOW(pthread_mutex_init(&lock, &attributes));
    SHOW(pthread_mutex_destroy(&lock));
    return 0;
}
