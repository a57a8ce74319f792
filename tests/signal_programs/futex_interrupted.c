#include "common.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
int main(void)
{
    struct timespec when;
    int word = 5;
    on(SIGALRM, says, 0);
    pthread_mutex_lock(&lock);
    clock_gettime(CLOCK_REALTIME, &when);
    when.tv_sec += 1;
    arm(100000, 0);
    int result = pthread_cond_timedwait(&changed, &lock, &when);
    printf("%s\n", strerrorname_np(result));
    arm(20000, 0);
    printf("%s\n", err(syscall(SYS_futex, &word, 0, 5, NULL, NULL, 0)));
    struct timespec second = {1, 0};
    on(SIGALRM, says, SA_RESTART);
    arm(20000, 0);
    printf("%s\n", err(syscall(SYS_futex, &word, 0, 5, &second, NULL, 0)));
    return 0;
}
