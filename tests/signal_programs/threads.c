#include "common.h"

static pthread_t main_thread, waiter;
static pthread_barrier_t ready;
static void who(int number, siginfo_t *info, void *context)
{ printf("%d in %s\n", number, pthread_equal(pthread_self(), main_thread) ? "main" : "thread"); count++; }
static void *sleeps(void *argument)
{
    stack_t none;
    sigaltstack(NULL, &none);
    printf("inherited mask %d stack %d\n", ({ sigset_t s; pthread_sigmask(0, NULL, &s); sigismember(&s, SIGHUP); }),
           none.ss_flags);
    block(SIG_UNBLOCK, SIGUSR2);
    pthread_barrier_wait(&ready);
    struct timespec long_time = {100, 0};
    int result = nanosleep(&long_time, NULL);
    printf("sleep %s\n", err(result));
    result = nanosleep(&long_time, NULL);
    printf("sleep %s\n", err(result));
    return NULL;
}
int main(void)
{
    main_thread = pthread_self();
    on(SIGUSR1, who, 0);
    on(SIGUSR2, who, 0);
    block(SIG_BLOCK, SIGHUP);
    block(SIG_BLOCK, SIGUSR2);
    pthread_barrier_init(&ready, NULL, 2);
    pthread_create(&waiter, NULL, sleeps, NULL);
    pthread_barrier_wait(&ready);
    usleep(100000);
    kill(getpid(), SIGUSR1);
    pthread_kill(waiter, SIGUSR1);
    while (count < 2) usleep(10000);
    usleep(100000);
    kill(getpid(), SIGUSR2);
    pthread_join(waiter, NULL);
    printf("%d\n", (int)count);
    return 0;
}
