/* Tries to change the host: the file and the directory that are given, and everything else that is in reach. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

static void did(const char *what, long result) {
    if (result >= 0) printf("DID %s\n", what);
}

static void attack(const char *path) {
    struct timeval times[2] = {{1, 0}, {1, 0}};
    int fd = open(path, O_WRONLY);
    if (fd >= 0) write(fd, "overwritten", 11), ftruncate(fd, 3), close(fd);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd >= 0) write(fd, "overwritten", 11), fchmod(fd, 0777), close(fd);
    truncate(path, 1);
    chmod(path, 0777);
    chown(path, 0, 0);
    utimes(path, times);
    setxattr(path, "user.a", "b", 1, 0);
    rename(path, "/tmp/away");
    unlink(path);
    rmdir(path);
    mkdir(path, 0777);
    symlink("/tmp", path);
    link("/tmp/away", path);
    mknod(path, S_IFREG | 0644, 0);
    mknod(path, S_IFIFO | 0644, 0);
}

int main(int argc, char **argv) {
    char inside[PATH_MAX], through[2 * PATH_MAX];
    const char *file = argv[1], *directory = argv[2];
    snprintf(inside, sizeof inside, "%s/planted", directory);
    attack(file);
    attack(inside);
    attack(directory);
    snprintf(through, sizeof through, "/proc/self/root%s", inside);
    attack(through);
    symlink(directory, "/tmp/dir");
    attack("/tmp/dir/planted");
    attack("/proc/self/exe");
    attack("/lib64/ld-linux-x86-64.so.2");
    attack("/usr/lib/x86_64-linux-gnu/libc.so.6");
    attack("/usr/lib/planted");
    attack("/etc/passwd");
    attack("/etc/ld.so.preload");
    attack("/dev/sda");
    attack("/dev/null");

    did("chroot", chroot("/tmp"));
    did("mount", mount("none", "/tmp", "tmpfs", 0, ""));
    did("umount", umount2("/", MNT_DETACH));
    did("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
    did("mknod", mknod("/tmp/sda", S_IFBLK | 0666, 8 << 8));
    did("mknod", mknod("/tmp/mem", S_IFCHR | 0666, 1 << 8 | 1));
    did("unshare", syscall(SYS_unshare, 0x10000000));
    did("setns", syscall(SYS_setns, 0, 0));
    did("bpf", syscall(SYS_bpf, 0, 0, 0));
    did("perf", syscall(SYS_perf_event_open, 0, 0, 0, 0, 0));
    did("io_uring", syscall(SYS_io_uring_setup, 1, inside));
    did("userfaultfd", syscall(SYS_userfaultfd, 0));
    did("keyctl", syscall(SYS_keyctl, 0, 0));
    did("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x1234567));
    did("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0));
    did("init_module", syscall(SYS_init_module, "", 0, ""));
    did("iopl", syscall(SYS_iopl, 3));
    did("ptrace", ptrace(PTRACE_ATTACH, 1, 0, 0));
    did("ptrace parent", ptrace(PTRACE_ATTACH, getppid(), 0, 0));
    did("sethostname", syscall(SYS_sethostname, "x", 1));
    did("settimeofday", settimeofday(&(struct timeval){1, 0}, NULL));
    did("kill 1", kill(1, SIGKILL));
    did("kill parent", kill(getppid(), SIGKILL));
    did("kill argument", kill(atoi(argv[3]), SIGKILL));
    char byte = 0;
    struct iovec local = {&byte, 1}, remote = {main, 1};
    did("process_vm_readv", syscall(SYS_process_vm_readv, atoi(argv[3]), &local, 1, &remote, 1, 0));
    did("pidfd_open", syscall(434, atoi(argv[3]), 0));
    did("execve", execve("/bin/sh", (char *[]){"sh", "-c", "touch /tmp/x", NULL}, NULL));

    int sockets[] = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET};
    for (int i = 0; i < 4; i++) did("socket", socket(sockets[i], SOCK_STREAM, 0));
    int unix_socket = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {AF_UNIX};
    strncpy(address.sun_path, argv[4], sizeof address.sun_path - 1);
    did("connect", connect(unix_socket, (void *)&address, sizeof address));
    address.sun_path[0] = 0;
    strcpy(address.sun_path + 1, "emuleak-test");
    did("connect abstract", connect(unix_socket, (void *)&address, 2 + 1 + 12));

    for (int fd = 0; fd < 3; fd++) {
        did("TIOCSTI", ioctl(fd, 0x5412, "x"));
        did("TIOCLINUX", ioctl(fd, 0x541C, "x"));
        did("TCGETS", ioctl(fd, 0x5401, through));
        did("lseek", lseek(fd, 0, SEEK_SET) > 0 ? 0 : -1);
        if (fd) did("ftruncate", ftruncate(fd, 0)), did("pwrite", pwrite(fd, "x", 1, 0));
        if (fd) did("read", read(fd, through, 1));
        if (fd) did("mmap", (long)mmap(0, 4096, 1, MAP_SHARED, fd, 0) == -1 ? -1 : 0);
        snprintf(through, sizeof through, "/proc/self/fd/%d", fd);
        if (fd) did("truncate", truncate(through, 0));
    }
    printf("done\n");
    return 0;
}
