/* The calls that every program may make about itself and its files, each once or twice: results and errno. What differs
 * from run to run (times, ids) is only asked whether it makes sense. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ASK(name, ...) show(#name, syscall(SYS_##name, ##__VA_ARGS__))
#define SENSE(name, test, ...) (errno = 0, result = syscall(SYS_##name, ##__VA_ARGS__), \
                                printf("%s: %s\n", #name, (test) ? "makes sense" : "makes no sense"))

static long result;

static void show(const char *name, long value)
{
    if (value < 0)
        printf("%s: %ld, errno %d\n", name, value, errno);
    else
        printf("%s: %ld\n", name, value);
    errno = 0;
}

static void itself(void)
{
    unsigned ids[3] = {77, 77, 77};
    gid_t groups[64];
    struct utsname name;
    struct sysinfo info;
    char text[16] = "";
    SENSE(getppid, result > 0);
    SENSE(getpgrp, result > 0);
    SENSE(getpgid, result == getpgrp(), 0);
    SENSE(getsid, result >= 0, 0);
    SENSE(geteuid, result == getuid());
    SENSE(getgid, result == (long)getegid());
    SENSE(getegid, result == (long)getgid());
    SENSE(getgroups, result >= 0, 64, groups);
    ASK(getgroups, -1, groups);
    SENSE(getresuid, result == 0 && ids[0] == getuid() && ids[2] == getuid(), ids, ids + 1, ids + 2);
    SENSE(getresgid, result == 0 && ids[0] == getgid() && ids[2] == getgid(), ids, ids + 1, ids + 2);
    ASK(getresuid, ids, ids, 8L);
    ASK(setuid, getuid());
    ASK(setgid, getgid());
    ASK(setreuid, -1, -1);
    ASK(setregid, -1, -1);
    ASK(setresuid, -1, -1, -1);
    ASK(setresgid, -1, -1, -1);
    ASK(uname, &name);
    printf("%s %s\n", name.sysname, name.machine);
    ASK(uname, 8L);
    SENSE(sysinfo, result == 0 && info.totalram > 0 && info.mem_unit > 0 && info.procs > 0, &info);
    ASK(prctl, 15, "a name that is far too long", 0, 0, 0);
    ASK(prctl, 16, text, 0, 0, 0);
    printf("%s\n", text);
    SENSE(personality, result == 0 || result == 0x40000, 0xffffffffL); /* addresses are not random here */
    ASK(tkill, (int)syscall(SYS_gettid), 0);
    ASK(tkill, -1, 0);
    ASK(wait4, -1, NULL, 0, NULL);
    ASK(waitid, 0, 0, NULL, WEXITED, NULL);
}

static void time_and_limits(void)
{
    struct timeval tv = {0, 0};
    struct timespec ts = {0, 1000000}, rest;
    struct tms tms;
    struct rlimit limit;
    struct rusage usage;
    SENSE(gettimeofday, result == 0 && tv.tv_sec > 1600000000, &tv, NULL);
    SENSE(time, result >= tv.tv_sec && result < tv.tv_sec + 100, NULL);
    SENSE(times, result >= 0, &tms);
    SENSE(getrusage, result == 0 && usage.ru_maxrss >= 0, 0, &usage);
    ASK(getrusage, 0, 8L);
    ASK(clock_getres, 1, &rest);
    printf("%ld\n", rest.tv_nsec);
    ASK(clock_getres, 99, &rest);
    ASK(nanosleep, &ts, &rest);
    ts.tv_nsec = 1000000000;
    ASK(nanosleep, &ts, &rest);
    SENSE(getrlimit, result == 0 && limit.rlim_cur <= limit.rlim_max, 7, &limit);
    ASK(setrlimit, 7, &limit);
    ASK(getrlimit, 99, &limit);
    SENSE(getpriority, result >= 1 && result <= 40, 0, 0);
    ASK(getpriority, 9, 0);
    ASK(setpriority, 0, 0, 20 - (int)syscall(SYS_getpriority, 0, 0));
}

static void scheduling(void)
{
    struct sched_param parameter = {0};
    unsigned long mask[16] = {0};
    unsigned cpu = 9999;
    struct timespec ts;
    ASK(sched_yield);
    ASK(sched_getscheduler, 0);
    ASK(sched_getparam, 0, &parameter);
    ASK(sched_setparam, 0, &parameter);
    ASK(sched_setscheduler, 0, 0, &parameter);
    ASK(sched_get_priority_max, 1);
    ASK(sched_get_priority_min, 1);
    ASK(sched_get_priority_max, 77);
    ASK(sched_get_priority_min, 77);
    SENSE(sched_rr_get_interval, result == 0, 0, &ts);
    SENSE(sched_getaffinity, result > 0 && mask[0], 0, sizeof mask, mask);
    ASK(sched_setaffinity, 0, sizeof mask, mask);
    ASK(sched_getaffinity, 0, 1, mask);
    SENSE(getcpu, result == 0 && cpu < 1024, &cpu, NULL, NULL);
}

static void pages(void)
{
    unsigned char residence[4] = {9, 9, 9, 9};
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p[0] = p[4096] = 1;
    ASK(mincore, p, 8192, residence);
    printf("%d %d %d\n", residence[0] & 1, residence[1] & 1, residence[2]);
    ASK(mincore, p + 1, 4096, residence);
    ASK(mlock, p, 8192);
    ASK(munlock, p, 8192);
    ASK(munlockall);
    munmap(p, 8192);
    SENSE(membarrier, result >= 0 || errno == ENOSYS || errno == EPERM, 0, 0, 0);
    SENSE(getrandom, result == 8, residence - 4, 8, 0);
}

static void files(void)
{
    char text[64];
    int fd = syscall(SYS_creat, "made", 0640);
    struct timeval times[2] = {{1000, 0}, {2000, 0}};
    struct stat status;
    printf("creat: %s\n", fd >= 0 ? "a descriptor" : "none");
    ASK(fsync, fd);
    ASK(fdatasync, fd);
    ASK(fdatasync, -1);
    ASK(sync_file_range, fd, 0L, 0L, 0);
    ASK(sync);
    ASK(fadvise64, fd, 0L, 0L, 4);
    ASK(fadvise64, fd, 0L, 0L, 99);
    ASK(fchown, fd, -1, -1);
    ASK(chown, "made", -1, -1);
    ASK(lchown, "made", -1, -1);
    ASK(chown, "missing", -1, -1);
    ASK(fchownat, AT_FDCWD, "made", -1, -1, 0);
    ASK(fchmodat, AT_FDCWD, "made", 0604);
    stat("made", &status);
    printf("%o\n", status.st_mode);
    ASK(faccessat, AT_FDCWD, "made", 4);
    ASK(faccessat, AT_FDCWD, "missing", 4);
    ASK(futimesat, AT_FDCWD, "made", times);
    stat("made", &status);
    printf("%ld %ld\n", (long)status.st_atime, (long)status.st_mtime);
    ASK(linkat, AT_FDCWD, "made", AT_FDCWD, "linked", 0);
    ASK(symlinkat, "made", AT_FDCWD, "pointer");
    ASK(readlinkat, AT_FDCWD, "pointer", text, 64);
    ASK(readlinkat, AT_FDCWD, "made", text, 64);
    ASK(renameat, AT_FDCWD, "linked", AT_FDCWD, "renamed");
    ASK(mknodat, AT_FDCWD, "node", S_IFREG | 0600, 0);
    ASK(mknodat, AT_FDCWD, "node", S_IFREG | 0600, 0);
    ASK(lgetxattr, "made", "user.none", text, 64);
    ASK(llistxattr, "missing", text, 64);
    ASK(flistxattr, -1, text, 64);
    ASK(fsetxattr, -1, "user.a", "b", 1, 0);
    ASK(lsetxattr, "missing", "user.a", "b", 1, 0);
    ASK(lremovexattr, "missing", "user.a");
    unlink("made"), unlink("renamed"), unlink("pointer"), unlink("node");
    close(fd);
}

static void waiting(void)
{
    struct epoll_event event;
    struct timespec ts = {0, 1000};
    int fd = syscall(SYS_epoll_create, 1), counter = syscall(SYS_eventfd, 3);
    printf("%d %d\n", fd >= 0, counter >= 0);
    ASK(epoll_create, 0);
    SENSE(epoll_pwait2, result == 0 || errno == ENOSYS, fd, &event, 1, &ts, NULL, 8);
    unsigned long long count = 0;
    printf("%zd %llu\n", read(counter, &count, 8), count);
    close(fd), close(counter);
}

int main(void)
{
    itself();
    time_and_limits();
    scheduling();
    pages();
    files();
    waiting();
    return 0;
}
