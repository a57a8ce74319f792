/* What every program here needs: the headers, handlers that count or tell, and short names for sigaction and kin. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile sig_atomic_t count;
static void on(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&action.sa_mask);
    if (sigaction(number, &action, NULL)) { perror("sigaction"); exit(99); }
}
static void counts(int number, siginfo_t *info, void *context) { count++; }
static void says(int number, siginfo_t *info, void *context) { printf("signal %d\n", number); count++; }
static sigset_t set_of(int number) { sigset_t set; sigemptyset(&set); sigaddset(&set, number); return set; }
static void block(int how, int number) { sigset_t set = set_of(number); sigprocmask(how, &set, NULL); }
static const char *err(int result) { return result < 0 ? strerrorname_np(errno) : "ok"; }
static void arm(long first_us, long interval_us)
{
    struct itimerval value = {{interval_us / 1000000, interval_us % 1000000}, {first_us / 1000000, first_us % 1000000}};
    setitimer(ITIMER_REAL, &value, NULL);
}
