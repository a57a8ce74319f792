#include "common.h"

static int ends[2];
static void writes(int number, siginfo_t *info, void *context) { if (++count % 2 == 0) write(ends[1], "x", 1); }
int main(void)
{
    char c;
    pipe(ends);
    on(SIGALRM, writes, SA_RESTART);
    arm(20000, 20000);
    printf("read %s", err(read(ends[0], &c, 1)));
    arm(0, 0);
    printf(" after %d\n", (int)count);
    on(SIGALRM, counts, 0);
    arm(20000, 0);
    printf("read %s\n", err(read(ends[0], &c, 1)));
    on(SIGALRM, counts, SA_RESTART);
    arm(20000, 0);
    struct pollfd poller = {ends[0], POLLIN};
    printf("poll %s\n", err(poll(&poller, 1, -1)));
    arm(20000, 0);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    printf("select %s %d\n", err(select(ends[0] + 1, &set, NULL, NULL, NULL)), FD_ISSET(ends[0], &set) != 0);
    int epoll = epoll_create1(0);
    struct epoll_event event = {EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    arm(20000, 0);
    printf("epoll %s\n", err(epoll_wait(epoll, &event, 1, -1)));
    arm(20000, 0);
    struct timespec left = {9, 9}, pause_ = {1, 0};
    printf("nanosleep %s", err(nanosleep(&pause_, &left)));
    printf(" %d\n", left.tv_sec == 0 && left.tv_nsec > 900000000);
    arm(20000, 0);
    printf("sleep %u\n", sleep(5) >= 4);
    return 0;
}
