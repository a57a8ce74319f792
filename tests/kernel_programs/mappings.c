/* Files shown in memory: what is stored there must be in the file when it is read, moved, unmapped or left to exit. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(x) printf("%d: %s\n", __LINE__, (x) ? "yes" : "no")
#define HUGE ((off_t)8 << 30)

static char b[64];

static int shared(const char *name)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (int i = 0; i < 3000; i++)
        if (write(fd, "0123456789", 10) != 10) return -1;
    char *m = mmap(0, 30000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memcpy(m + 5, "hello", 5);
    m[29999] = 'Z';
    CHECK(pread(fd, b, 10, 0) == 10 && !memcmp(b, "01234hello", 10));
    CHECK(pwrite(fd, "XX", 2, 0) == 2 && m[0] == 'X' && m[5] == 'h');
    m[8192] = 'Q';
    CHECK(msync(m, 30000, MS_SYNC) == 0);
    CHECK(msync(m, 30000, MS_SYNC | MS_ASYNC) == -1 && errno == EINVAL);
    m[30001] = 'e'; /* behind the end: never in the file */
    char *k = mremap(m, 30000, 60000, MREMAP_MAYMOVE);
    CHECK(k != MAP_FAILED && k[8192] == 'Q' && k[5] == 'h' && k[29999] == 'Z');
    k[4096] = 'P';
    CHECK(mprotect(k, 4096 * 4, PROT_READ) == 0);
    int again = open(name, O_RDONLY);
    CHECK(pread(again, b, 1, 4096) == 1 && b[0] == 'P');
    char *seen = mmap(0, 4096, PROT_READ, MAP_SHARED, again, 0);
    CHECK(seen[5] == 'h');
    CHECK(mprotect(seen, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
    CHECK(pwrite(fd, "YY", 2, 0) == 2 && seen[0] == 'Y');
    CHECK(mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) == MAP_FAILED && errno == EACCES);
    close(fd);
    k[20000] = 'R';
    munmap(k, 60000);
    CHECK(pread(again, b, 1, 20000) == 1 && b[0] == 'R');
    return again;
}

static void private(int fd)
{
    char *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096);
    p[1] = '!';
    mmap(p + 8192, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    char *q = mremap(p, 8192, 12288, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && q[0] == 'P' && q[1] == '!' && q[2] == '8');
    printf("%.10s %.10s\n", q + 4096, q + 8192);
    CHECK(pread(fd, b, 2, 4096) == 2 && b[1] == '7');
}

static void huge(int other)
{
    int fd = open("sparse.bin", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(ftruncate(fd, HUGE) == 0 && pwrite(fd, "end", 3, HUGE - 3) == 3);
    char *z = mmap(0, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(z != MAP_FAILED && !memcmp(z + HUGE - 3, "end", 3) && z[1 << 30] == 0);
    z[77] = 'a';
    CHECK(pread(other, z + 5000, 10, 0) == 10 && z[5005] == 'h');
    CHECK(mremap(z, HUGE, 4096, 0) == z && z[77] == 'a');
    char *s = mmap(0, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    s[HUGE / 2] = 'M';
    CHECK(pread(fd, b, 1, HUGE / 2) == 1 && b[0] == 'M');
    s[1] = 'L'; /* left to the end of the process */
}

static void devices(void)
{
    CHECK(mmap(0, 4096, PROT_READ, MAP_PRIVATE, open("/dev/null", O_RDWR), 0) == MAP_FAILED && errno == ENODEV);
    char *zeros = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, open("/dev/zero", O_RDWR), 0);
    CHECK(zeros[9] == 0);
    zeros[9] = 1;
    CHECK(zeros[9] == 1);
}

int main(int count, char **arguments)
{
    int fd = shared(count > 1 ? arguments[1] : "shown");
    private(fd);
    huge(fd);
    devices();
    return 0;
}
