#include "common.h"

static sigset_t set;
static void *server(void *argument)
{
    for (int number = 0; number != SIGTERM; printf("got %d\n", number)) sigwait(&set, &number);
    return NULL;
}
int main(void)
{
    pthread_t thread;
    set = set_of(SIGTERM);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_create(&thread, NULL, server, NULL);
    kill(getpid(), SIGUSR1);
    usleep(50000);
    pthread_kill(thread, SIGUSR1);
    usleep(50000);
    kill(getpid(), SIGTERM);
    pthread_join(thread, NULL);
    return 0;
}
