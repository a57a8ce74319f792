#include "common.h"

int main(void)
{
    sigset_t empty, now;
    sigemptyset(&empty);
    int ends[2];
    pipe(ends);
    struct pollfd poller = {ends[0], POLLIN};
    struct timespec none = {0}, some = {0, 10000000}, late = {30, 0};
    on(SIGUSR1, says, SA_RESTART);
    block(SIG_BLOCK, SIGUSR1);
    printf("%d\n", ppoll(&poller, 1, &some, &empty));
    raise(SIGUSR1);
    printf("%d\n", ppoll(&poller, 1, &some, NULL));
    printf("%s\n", err(ppoll(&poller, 1, &late, &empty)));
    raise(SIGUSR1);
    printf("%s\n", err(pselect(0, NULL, NULL, NULL, &late, &empty)));
    raise(SIGUSR1);
    int epoll = epoll_create1(0);
    struct epoll_event event = {EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    printf("%s\n", err(epoll_pwait(epoll, &event, 1, -1, &empty)));
    on(SIGALRM, says, 0);
    block(SIG_BLOCK, SIGALRM);
    arm(20000, 0);
    printf("%s\n", err(ppoll(&poller, 1, &late, &empty)));
    write(ends[1], "x", 1);
    printf("%d\n", ppoll(&poller, 1, &late, &empty));
    sigprocmask(SIG_BLOCK, NULL, &now);
    printf("%d %d %d\n", sigismember(&now, SIGUSR1), sigismember(&now, SIGALRM), (int)count);
    return 0;
}
