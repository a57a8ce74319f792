/* Pipes, sockets, poll, select, epoll, timers: within one process. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

int main(void)
{
    char buffer[100];
    int ends[2], pair[2];
    struct iovec pieces[2] = {{"ab", 2}, {"cdefg", 5}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    struct epoll_event event = {EPOLLIN | EPOLLET, {.fd = 7}};
    struct sockaddr_un name = {AF_UNIX, "absent.socket"}, hidden = {AF_UNIX, "\0hidden"};
    socklen_t length = sizeof hidden;
    fd_set set, none;

    pipe(ends);
    poll(&(struct pollfd){ends[0], POLLIN, 0}, 1, 0);
    write(ends[1], "hello", 5);
    poll((struct pollfd[]){{ends[0], POLLIN, 0}, {-1, 0, 0}, {ends[1], POLLIN | POLLOUT, 0}}, 3, -1);
    FD_ZERO(&set);
    FD_ZERO(&none);
    FD_SET(ends[0], &set);
    select(ends[0] + 1, &set, &none, NULL, NULL);
    read(ends[0], buffer, 100);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    read(ends[0], buffer, 100);
    close(ends[1]);
    poll(&(struct pollfd){ends[0], POLLIN, 0}, 1, 100);
    poll(&(struct pollfd){77, POLLIN, 0}, 1, 100);
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    send(pair[0], "x", 1, MSG_NOSIGNAL);
    writev(pair[0], pieces, 2);
    sendmsg(pair[0], &message, 0);
    recv(pair[1], buffer, 100, MSG_PEEK | MSG_DONTWAIT);
    recv(pair[1], buffer, 100, MSG_DONTWAIT);
    recv(pair[1], buffer, 1, MSG_DONTWAIT);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, pair[1], &event);
    epoll_wait(epoll, &event, 4, 0);
    write(pair[0], "y", 1);
    epoll_wait(epoll, &event, 4, 0);
    epoll_ctl(epoll, EPOLL_CTL_DEL, pair[1], &event);
    epoll_ctl(epoll, EPOLL_CTL_MOD, 99, &event);
    shutdown(pair[0], SHUT_WR);
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    connect(client, (struct sockaddr *)&name, sizeof name);
    bind(server, (struct sockaddr *)&hidden, sizeof(sa_family_t) + 7);
    listen(server, 5);
    connect(client, (struct sockaddr *)&hidden, sizeof(sa_family_t) + 7);
    int accepted = accept4(server, (struct sockaddr *)&name, &length, SOCK_NONBLOCK);
    length = sizeof name;
    getsockname(server, (struct sockaddr *)&name, &length);
    getpeername(server, (struct sockaddr *)&name, &length);
    getsockopt(client, SOL_SOCKET, SO_TYPE, buffer, &length);
    setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    recv(accepted, buffer, 10, 0);
    socket(AF_UNIX, 99, 0);
    int count = eventfd(3, EFD_NONBLOCK | EFD_SEMAPHORE);
    read(count, buffer, 8);
    write(count, buffer, 4);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    timerfd_settime(timer, 0, &(struct itimerspec){{0, 0}, {0, 1}}, NULL);
    read(timer, buffer, 8);
    return 0;
}
