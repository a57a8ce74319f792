/* Files, descriptors, times, limits: calls whose text is the same on every host. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    char buffer[8192] = "text \1\0023 \"quoted\"\\\n\t\377";
    struct stat status;
    struct statx extended;
    int fd = open("made", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

    write(fd, buffer, 30);
    write(fd, buffer, 8192);
    pwrite(fd, "behind", 6, 100);
    fstat(fd, &status);
    lseek(fd, -20, SEEK_END);
    lseek(fd, 0, SEEK_SET);
    read(fd, buffer, 10);
    pread(fd, buffer, 6, 100);
    readv(fd, (struct iovec[]){{buffer, 3}, {buffer + 10, 100}}, 2);
    writev(fd, (struct iovec[]){{"ab", 2}, {"", 0}, {"cdefg", 5}}, 3);
    ftruncate(fd, 10);
    fcntl(fd, F_GETFL);
    fcntl(fd, F_GETFD);
    fcntl(fd, F_SETFD, 0);
    fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK);
    fcntl(fd, F_DUPFD, 20);
    fcntl(fd, F_DUPFD_CLOEXEC, 30);
    fcntl(fd, F_SETLK, &(struct flock){.l_type = F_WRLCK, .l_start = 1, .l_len = 5});
    fcntl(77, F_GETFL);
    flock(fd, LOCK_SH | LOCK_NB);
    fsync(fd);
    dup2(fd, 40);
    dup3(fd, 41, O_CLOEXEC);
    close(fd);
    close(fd);
    read(99, buffer, 10);
    write(99, "x", 1);
    stat("/dev/null", &status);
    lstat("absent", &status);
    stat(NULL, &status);
    statx(AT_FDCWD, "made", AT_SYMLINK_NOFOLLOW, STATX_SIZE, NULL);
    statx(AT_FDCWD, "absent", 0, STATX_BASIC_STATS, &extended);
    access("made", R_OK | W_OK);
    access("made", F_OK);
    faccessat(AT_FDCWD, "made", X_OK, AT_EACCESS);
    mkdir("directory", 0755);
    mkdirat(AT_FDCWD, "directory", 0700);
    rename("made", "directory/moved");
    renameat2(AT_FDCWD, "absent", AT_FDCWD, "other", RENAME_NOREPLACE);
    symlink("target of the link", "link");
    readlink("link", buffer, 100);
    readlink("link", buffer, 4);
    readlink("directory", buffer, 100);
    link("directory/moved", "hard");
    linkat(AT_FDCWD, "absent", AT_FDCWD, "other", AT_SYMLINK_FOLLOW);
    chmod("hard", 04751);
    chmod("hard", 0);
    chown("hard", -1, -1);
    umask(027);
    umask(022);
    truncate("hard", 3);
    utimensat(AT_FDCWD, "hard", (struct timespec[]){{0, UTIME_NOW}, {5, 6}}, 0);
    utimensat(AT_FDCWD, "hard", NULL, AT_SYMLINK_NOFOLLOW);
    unlink("hard");
    unlinkat(AT_FDCWD, "directory/moved", 0);
    unlinkat(AT_FDCWD, "directory", AT_REMOVEDIR);
    rmdir("directory");
    unlink("link");
    mknod("node", S_IFREG | 0600, 0);
    mknod("fifo", S_IFIFO | 0644, 0);
    unlink("node");
    unlink("fifo");
    chdir("absent");
    pipe((int[2]){0});
    pipe2((int[2]){0}, O_NONBLOCK | O_CLOEXEC);
    ioctl(0, TIOCGWINSZ, buffer);
    ioctl(99, FIONREAD, buffer);
    ioctl(99, FIOCLEX);
    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    mmap(NULL, 0, PROT_READ, MAP_PRIVATE, 99, 0);
    mmap((void *)1, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, 99, 0x2000);
    madvise((void *)1, 1, MADV_DONTNEED);
    mprotect((void *)1, 4096, PROT_READ | PROT_EXEC);
    mremap((void *)1, 1, 1, MREMAP_MAYMOVE);
    msync((void *)1, 1, MS_SYNC);
    getcwd(buffer, 3);
    getrlimit(RLIMIT_NOFILE, (struct rlimit *)16);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){2048, 1024});
    getpriority(PRIO_PROCESS, 0);
    getrusage(77, NULL);
    clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){0, 1}, NULL);
    nanosleep(&(struct timespec){0, -1}, NULL);
    setitimer(ITIMER_VIRTUAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    prctl(PR_SET_NAME, "named");
    prctl(PR_GET_NAME, buffer);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    setuid(-1);
    getgroups(-1, NULL);
    wait4(-1, NULL, WNOHANG, NULL);
    DIR *here = opendir(".");
    while (readdir(here))
        ;
    closedir(here);
    return 7;
}
