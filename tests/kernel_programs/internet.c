/* Sockets of ip(7) and ipv6(7) on the loopback: between processes, threads' calls in one, refusals, options. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(call) do { errno = 0; long r_ = (long)(call); printf("%s: %ld %s\n", #call, r_ < 0 ? -1 : 0, \
                         r_ < 0 ? strerrorname_np(errno) : ""); } while (0)

static struct sockaddr_in v4(const char *host, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &a.sin_addr);
    return a;
}

static int port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    getsockname(fd, (void *)&a, &n);
    return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port : ((struct sockaddr_in6 *)&a)->sin6_port);
}

static void show(const char *what, int fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    char host[64] = "";
    if (get(fd, (void *)&a, &n) < 0) {
        printf("%s: %s\n", what, strerrorname_np(errno));
        return;
    }
    getnameinfo((void *)&a, n, host, sizeof host, NULL, 0, NI_NUMERICHOST);
    printf("%s: family %d, %d bytes, %s\n", what, a.ss_family, (int)n, host);
}

static void between_processes(void)
{
    int server = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in any = v4("0.0.0.0", 0);
    CHECK(setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    CHECK(bind(server, (void *)&any, sizeof any));
    CHECK(listen(server, 5));
    show("listening", server, getsockname);
    struct sockaddr_in there = v4("127.0.0.1", port_of(server));
    pid_t child = fork();
    if (!child) {
        int mine = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
        if (connect(mine, (void *)&there, sizeof there))
            _exit(9);
        char text[100] = "";
        FILE *stream = fdopen(mine, "r+");
        fgets(text, sizeof text, stream);
        fprintf(stream, "child got %s", text);
        fflush(stream);
        shutdown(mine, SHUT_WR);
        while (fgets(text, sizeof text, stream))
            ;
        _exit(3);
    }
    struct sockaddr_in who;
    socklen_t n = sizeof who;
    int peer = accept4(server, (void *)&who, &n, SOCK_CLOEXEC);
    printf("accepted from %s, %d bytes\n", inet_ntoa(who.sin_addr), (int)n);
    show("own", peer, getsockname);
    show("peer", peer, getpeername);
    CHECK(write(peer, "hello\n", 6));
    char text[100];
    ssize_t got, all = 0;
    while ((got = read(peer, text + all, sizeof text - all)) > 0)
        all += got;
    printf("%.*s", (int)all, text);
    close(peer);
    int status;
    waitpid(child, &status, 0);
    printf("child ended with %d\n", WEXITSTATUS(status));
    int second = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(second, (void *)&there, sizeof there));
    close(server);
    CHECK(connect(second, (void *)&there, sizeof there));
    close(second);
}

static void without_waiting(void)
{
    int server = socket(AF_INET6, SOCK_STREAM, 0);
    CHECK(listen(server, 5));
    show("listening", server, getsockname);
    struct sockaddr_in there = v4("127.0.0.1", port_of(server));
    int mine = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(connect(mine, (void *)&there, sizeof there));
    struct pollfd p = {mine, POLLOUT | POLLIN, 0};
    printf("poll %d", poll(&p, 1, 1000));
    printf(" %#x\n", p.revents);
    int error = 7;
    socklen_t n = sizeof error;
    CHECK(getsockopt(mine, SOL_SOCKET, SO_ERROR, &error, &n));
    printf("SO_ERROR %d\n", error);
    CHECK(connect(mine, (void *)&there, sizeof there));
    CHECK(connect(mine, (void *)&there, sizeof there));
    int peer = accept(server, NULL, NULL);
    show("own", peer, getsockname);
    show("peer", peer, getpeername);
    char c;
    CHECK(read(mine, &c, 1));
    CHECK(fcntl(server, F_SETFL, O_NONBLOCK));
    CHECK(accept(server, NULL, NULL));
    close(server);
    close(peer);
    printf("end of file: %zd\n", read(mine, &c, 1));
    close(mine);
    mine = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(connect(mine, (void *)&there, sizeof there));
    p = (struct pollfd){mine, POLLOUT | POLLIN, 0};
    printf("poll %d", poll(&p, 1, 1000));
    printf(" %#x\n", p.revents);
    CHECK(getsockopt(mine, SOL_SOCKET, SO_ERROR, &error, &n));
    printf("SO_ERROR %s\n", strerrorname_np(error));
    close(mine);
}

static void datagrams(void)
{
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in here = v4("127.0.0.1", 0), from;
    CHECK(bind(a, (void *)&here, sizeof here));
    here.sin_port = htons(port_of(a));
    CHECK(sendto(b, "one", 3, 0, (void *)&here, sizeof here));
    CHECK(sendto(b, "", 0, 0, (void *)&here, sizeof here));
    CHECK(connect(b, (void *)&here, sizeof here));
    CHECK(send(b, "three", 5, 0));
    show("peer", b, getpeername);
    char text[10] = "";
    socklen_t n = sizeof from;
    for (int i = 0; i < 3; i++) {
        n = sizeof from;
        ssize_t got = recvfrom(a, text, 4, i == 2 ? MSG_TRUNC : 0, (void *)&from, &n);
        printf("%zd of %s port %s\n", got, inet_ntoa(from.sin_addr), ntohs(from.sin_port) == port_of(b) ? "b" : "?");
    }
    CHECK(sendto(a, "back", 4, 0, (void *)&from, n));
    struct iovec part = {text, sizeof text};
    struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
    printf("recvmsg %zd, name of %d\n", recvmsg(b, &message, 0), (int)message.msg_namelen);
    struct timeval soon = {0, 20000};
    CHECK(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
    CHECK(recv(a, text, 10, 0));
    CHECK(recv(a, text, 10, MSG_DONTWAIT));
    close(a);
    CHECK(send(b, "lost", 4, 0));
    CHECK(send(b, "lost", 4, 0));
    CHECK(send(socket(AF_INET, SOCK_DGRAM, 0), "x", 1, 0));
    close(b);
}

static void refusals(void)
{
    struct sockaddr_in there = v4("127.0.0.1", 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (void *)&there, sizeof there));
    CHECK(connect(fd, (void *)&there, 4));
    there.sin_family = AF_INET6;
    CHECK(connect(fd, (void *)&there, sizeof there));
    CHECK(send(fd, "x", 1, MSG_NOSIGNAL));
    char c;
    CHECK(recv(fd, &c, 1, 0));
    CHECK(accept(fd, NULL, NULL));
    CHECK(shutdown(fd, SHUT_WR));
    show("peer", fd, getpeername);
    there = v4("127.0.0.1", 0);
    CHECK(bind(fd, (void *)&there, sizeof there));
    CHECK(bind(fd, (void *)&there, sizeof there));
    CHECK(listen(fd, 1));
    there.sin_port = htons(port_of(fd));
    CHECK(bind(other, (void *)&there, sizeof there));
    there = v4("0.0.0.0", port_of(fd));
    CHECK(bind(other, (void *)&there, sizeof there));
    CHECK(socket(AF_INET, SOCK_SEQPACKET, 0));
    CHECK(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    CHECK(socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0}));
    int one = 1, got = 0;
    socklen_t n = sizeof got;
    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
    CHECK(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &got, &n));
    printf("TCP_NODELAY %d\n", got);
    for (int option = 0; option < 3; option++) {
        CHECK(getsockopt(fd, SOL_SOCKET, (int[]){SO_TYPE, SO_DOMAIN, SO_PROTOCOL}[option], &got, &n));
        printf("%d\n", got);
    }
}

static void by_name(void)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    printf("getaddrinfo %d\n", getaddrinfo("localhost", "80", &hints, &found));
    for (struct addrinfo *each = found; each; each = each->ai_next)
        printf("%s\n", inet_ntoa(((struct sockaddr_in *)each->ai_addr)->sin_addr));
    freeaddrinfo(found);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    between_processes();
    without_waiting();
    datagrams();
    refusals();
    by_name();
}
