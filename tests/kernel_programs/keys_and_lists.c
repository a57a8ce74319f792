// Protection keys, which the emulated CPU has none of, and the list of robust locks: get_robust_list(2).
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tell(const char *what, long result) {
    if (result < 0)
        printf("%s: %s\n", what, strerror(errno));
    else
        printf("%s: %ld\n", what, result);
}

int main(void) {
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    tell("pkey_alloc with flags", syscall(SYS_pkey_alloc, 1, 0));
    tell("pkey_alloc with rights unknown", syscall(SYS_pkey_alloc, 0, 1 << 20));
    tell("pkey_free of none", syscall(SYS_pkey_free, 77));
    tell("pkey_mprotect without a key", syscall(SYS_pkey_mprotect, page, 4096, PROT_READ | PROT_WRITE, -1));
    page[0] = 'x';
    tell("pkey_mprotect with none", syscall(SYS_pkey_mprotect, page, 4096, PROT_READ, 77));
    page[1] = 'y';
    printf("%.2s\n", page);

    struct { void *next; long offset; void *pending; } mine = {&mine, 0, NULL}, *head = NULL;
    size_t size = 0;
    tell("set_robust_list of a wrong size", syscall(SYS_set_robust_list, &mine, 8));
    tell("set_robust_list", syscall(SYS_set_robust_list, &mine, sizeof mine));
    tell("get_robust_list", syscall(SYS_get_robust_list, 0, &head, &size));
    printf("%d %zu\n", (void *)head == (void *)&mine, size);
    tell("get_robust_list of nobody", syscall(SYS_get_robust_list, 0x7FFFFFF0, &head, &size));
    tell("get_robust_list to nowhere", syscall(SYS_get_robust_list, 0, NULL, &size));
    return 0;
}
