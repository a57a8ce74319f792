/* What socket(2) and its kin, eventfd(2) and timerfd_create(2) answer: one line a question, the same on any Linux. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static void tell(int line, long result)
{
    printf("%d: %ld %s\n", line, result, result < 0 ? strerrorname_np(errno) : "");
}

#define SHOW(call) tell(__LINE__, (long)(call))

static struct sockaddr_un named(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    return address;
}

static void pairs(void)
{
    int s[2], number;
    char buffer[64];
    socklen_t length = sizeof number;
    SHOW(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
    SHOW(write(s[0], "hello", 5));
    SHOW(write(s[0], "world", 5));
    SHOW(ioctl(s[1], FIONREAD, &number)), printf("%d\n", number);
    SHOW(recv(s[1], buffer, 4, MSG_PEEK));
    SHOW(read(s[1], buffer, sizeof buffer)), printf("%.10s\n", buffer);
    SHOW(recv(s[1], buffer, 4, MSG_DONTWAIT));
    SHOW(fcntl(s[1], F_SETFL, O_NONBLOCK));
    SHOW(fcntl(s[1], F_GETFL));
    SHOW(read(s[1], buffer, 4));
    SHOW(lseek(s[0], 0, SEEK_CUR));
    SHOW(pread(s[0], buffer, 1, 0));
    SHOW(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &number, &length)), printf("%d %u\n", number, length);
    SHOW(getsockopt(s[0], SOL_SOCKET, SO_DOMAIN, &number, &length)), printf("%d\n", number);
    SHOW(getsockopt(s[0], SOL_SOCKET, SO_ERROR, &number, &length)), printf("%d\n", number);
    SHOW(getsockopt(s[0], SOL_SOCKET, 4444, &number, &length));
    SHOW(getsockopt(s[0], 6, 1, &number, &length));
    SHOW(setsockopt(s[0], SOL_SOCKET, SO_KEEPALIVE, &number, sizeof number));
    SHOW(setsockopt(s[0], SOL_SOCKET, SO_KEEPALIVE, &number, 1));
    SHOW(listen(s[0], 1));
    SHOW(accept(s[0], NULL, NULL));
    struct pollfd p[2] = {{s[0], POLLIN | POLLOUT | POLLRDHUP, 0}, {s[1], POLLIN | POLLOUT | POLLRDHUP, 0}};
    SHOW(poll(p, 2, 0)), printf("%x %x\n", p[0].revents, p[1].revents);
    struct iovec two[2] = {{"ab", 2}, {"cd", 2}};
    struct msghdr message = {.msg_iov = two, .msg_iovlen = 2};
    SHOW(sendmsg(s[0], &message, 0));
    struct iovec in[2] = {{buffer, 3}, {buffer + 10, 20}};
    struct msghdr got = {.msg_iov = in, .msg_iovlen = 2, .msg_controllen = 0};
    SHOW(recvmsg(s[1], &got, 0)), printf("%.3s%.1s %x\n", buffer, buffer + 10, got.msg_flags);
    SHOW(shutdown(s[0], SHUT_WR));
    SHOW(poll(p, 2, 0)), printf("%x %x\n", p[0].revents, p[1].revents);
    SHOW(read(s[1], buffer, 4));
    SHOW(send(s[0], "x", 1, MSG_NOSIGNAL));
    SHOW(write(s[1], "y", 1));
    SHOW(shutdown(s[0], 9));
    SHOW(close(s[0]));
    SHOW(poll(p + 1, 1, 0)), printf("%x\n", p[1].revents);
    SHOW(send(s[1], "x", 1, MSG_NOSIGNAL));
    signal(SIGPIPE, SIG_IGN);
    SHOW(write(s[1], "x", 1));
    struct stat status;
    SHOW(fstat(s[1], &status)), printf("%o\n", status.st_mode);
    SHOW(close(s[1]));
    SHOW(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    SHOW(send(s[0], "first", 5, 0));
    SHOW(send(s[0], "second", 6, 0));
    SHOW(recv(s[1], buffer, 3, MSG_TRUNC)), printf("%.3s\n", buffer);
    SHOW(recv(s[1], buffer, 30, 0)), printf("%.6s\n", buffer);
    SHOW(recv(s[1], buffer, 30, MSG_DONTWAIT));
    SHOW(close(s[0]));
    SHOW(recv(s[1], buffer, 30, 0));
    SHOW(close(s[1]));
}

static void refusals(void)
{
    int s[2], fd = open("/dev/null", O_RDWR), plain = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = named("/nowhere/at/all");
    socklen_t length = sizeof address;
    SHOW(socketpair(AF_UNIX, 77, 0, s));
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 99, s));
    SHOW(socketpair(99, SOCK_STREAM, 0, s));
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)8));
    SHOW(getpeername(fd, (struct sockaddr *)&address, &length));
    SHOW(getsockname(fd, (struct sockaddr *)&address, &length));
    SHOW(getpeername(99, (struct sockaddr *)&address, &length));
    SHOW(getpeername(plain, (struct sockaddr *)&address, &length));
    SHOW(getsockname(plain, (struct sockaddr *)&address, &length)), printf("%u\n", length);
    address = named("/nowhere/at/all");
    SHOW(connect(plain, (struct sockaddr *)&address, sizeof address));
    address = named("/etc/passwd");
    SHOW(connect(plain, (struct sockaddr *)&address, sizeof address));
    address = named("/");
    SHOW(connect(plain, (struct sockaddr *)&address, sizeof address));
    SHOW(connect(plain, (struct sockaddr *)&address, 1));
    SHOW(connect(plain, (struct sockaddr *)&address, 500));
    address.sun_family = AF_INET;
    SHOW(connect(plain, (struct sockaddr *)&address, sizeof address));
    SHOW(read(plain, s, 4));
    SHOW(send(plain, s, 4, MSG_NOSIGNAL));
    SHOW(shutdown(plain, SHUT_RD));
    SHOW(listen(plain, 4));
    SHOW(accept(plain, NULL, NULL));
    SHOW(listen(fd, 4));
    SHOW(sendto(fd, s, 4, 0, NULL, 0));
    SHOW(close(plain));
    SHOW(close(fd));
}

static void *client(void *path)
{
    struct sockaddr_un address = named(path);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(s, (struct sockaddr *)&address, sizeof address) < 0) return "no connection";
    if (write(s, "question", 8) != 8) return "not sent";
    char answer[16] = "";
    if (read(s, answer, sizeof answer) != 6 || strcmp(answer, "answer")) return "no answer";
    close(s);
    return NULL;
}

static void servers(void)
{
    struct sockaddr_un address = named("server.socket"), peer;
    socklen_t length = sizeof peer;
    char buffer[64] = "";
    int s = socket(AF_UNIX, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(bind(s, (struct sockaddr *)&address, sizeof address));
    SHOW(bind(s, (struct sockaddr *)&address, sizeof address));
    SHOW(bind(other, (struct sockaddr *)&address, sizeof address));
    SHOW(connect(other, (struct sockaddr *)&address, sizeof address));
    SHOW(getsockname(s, (struct sockaddr *)&peer, &length)), printf("%u %s\n", length, peer.sun_path);
    SHOW(listen(s, 5));
    struct stat status;
    SHOW(stat("server.socket", &status)), printf("%d\n", S_ISSOCK(status.st_mode));
    pthread_t thread;
    pthread_create(&thread, NULL, client, "server.socket");
    length = sizeof peer;
    int connection = accept4(s, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC);
    printf("%d %u\n", connection >= 0, length);
    SHOW(read(connection, buffer, sizeof buffer)), printf("%s\n", buffer);
    SHOW(write(connection, "answer", 6));
    SHOW(read(connection, buffer, sizeof buffer));
    void *result;
    pthread_join(thread, &result);
    printf("%s\n", result ? (char *)result : "served");
    SHOW(close(s));
    SHOW(connect(other, (struct sockaddr *)&address, sizeof address));
    SHOW(unlink("server.socket"));
    SHOW(connect(other, (struct sockaddr *)&address, sizeof address));

    int one = socket(AF_UNIX, SOCK_DGRAM, 0), two = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un hidden = named("");
    memcpy(hidden.sun_path, "\0emuleak", 8);
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + 8;
    SHOW(sendto(two, "x", 1, 0, (struct sockaddr *)&hidden, size));
    SHOW(bind(one, (struct sockaddr *)&hidden, size));
    SHOW(bind(two, (struct sockaddr *)&hidden, size));
    SHOW(send(two, "x", 1, 0));
    SHOW(sendto(two, "datagram", 8, 0, (struct sockaddr *)&hidden, size));
    SHOW(connect(two, (struct sockaddr *)&hidden, size));
    SHOW(send(two, "more", 4, 0));
    SHOW(recv(one, buffer, 4, MSG_TRUNC)), printf("%.4s\n", buffer);
    SHOW(recv(one, buffer, 10, 0)), printf("%.4s\n", buffer);
    SHOW(recv(one, buffer, 10, MSG_DONTWAIT));
    SHOW(close(one));
    SHOW(send(two, "more", 4, 0));
    SHOW(connect(other, (struct sockaddr *)&hidden, size));
}

static void counters(void)
{
    uint64_t value = 7;
    int e = eventfd(2, EFD_NONBLOCK), s = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    SHOW(write(e, &value, 8));
    SHOW(write(e, &value, 4));
    SHOW(read(e, &value, 4));
    SHOW(read(e, &value, 8)), printf("%lu\n", value);
    SHOW(read(e, &value, 8));
    SHOW(read(s, &value, 8)), printf("%lu\n", value);
    SHOW(read(s, &value, 8));
    SHOW(read(s, &value, 8));
    value = UINT64_MAX;
    SHOW(write(e, &value, 8));
    value = UINT64_MAX - 1;
    SHOW(write(e, &value, 8));
    SHOW(write(e, &value, 8));
    SHOW(eventfd(0, 0x8000));
    struct pollfd p = {e, POLLIN | POLLOUT, 0};
    SHOW(poll(&p, 1, 0)), printf("%x\n", p.revents);

    int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    SHOW(read(t, &value, 8));
    struct itimerspec spec = {{0, 0}, {0, 30000000}}, now;
    SHOW(timerfd_settime(t, 0, &spec, &now)), printf("%ld %ld\n", now.it_value.tv_sec, now.it_value.tv_nsec);
    SHOW(read(t, &value, 8));
    p.fd = t, p.events = POLLIN;
    SHOW(poll(&p, 1, 0));
    SHOW(poll(&p, 1, -1)), printf("%x\n", p.revents);
    SHOW(read(t, &value, 8)), printf("%lu\n", value);
    SHOW(timerfd_gettime(t, &now)), printf("%ld %ld\n", now.it_value.tv_sec, now.it_value.tv_nsec);
    SHOW(fcntl(t, F_SETFL, 0));
    spec.it_value.tv_nsec = 5000000;
    SHOW(timerfd_settime(t, 0, &spec, NULL));
    SHOW(read(t, &value, 8)), printf("%lu\n", value);
    SHOW(timerfd_settime(t, 0, &spec, NULL));
    fd_set set;
    FD_ZERO(&set);
    FD_SET(t, &set);
    SHOW(select(t + 1, &set, NULL, NULL, NULL)), printf("%d\n", !!FD_ISSET(t, &set));
    spec.it_value.tv_sec = 100;
    SHOW(timerfd_settime(t, 0, &spec, NULL));
    int epoll = epoll_create1(0);
    struct epoll_event event = {EPOLLIN, {.fd = t}}, ready[4];
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, t, &event));
    SHOW(epoll_wait(epoll, ready, 4, 20));
    FD_ZERO(&set);
    FD_SET(t, &set);
    struct timeval brief = {0, 1000};
    SHOW(select(t + 1, &set, NULL, NULL, &brief)), printf("%d\n", !!FD_ISSET(t, &set));
    spec.it_value.tv_nsec = 2000000000;
    SHOW(timerfd_settime(t, 0, &spec, NULL));
    SHOW(timerfd_create(77, 0));
    SHOW(timerfd_gettime(0, &now));
    SHOW(timerfd_gettime(99, &now));
}

int main(void)
{
    pairs();
    refusals();
    servers();
    counters();
    return 0;
}
