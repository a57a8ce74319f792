/* pvalloc: whole pages, aligned to a page; an old System V call that nobody should need. */
/* VALGRIND cannot: pvalloc is not implemented there, it ends the program */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static int pages(size_t size, int keep)
{
    char *p = pvalloc(size); /* EXPECT leak definitely-lost bytes=5000 blocks=1 */
    int good = (uintptr_t)p % 4096 == 0 && malloc_usable_size(p) >= 4096;
    memset(p, 0, size);
    if (!keep)
        free(p);
    return good;
}

int main(void)
{
    int good = pages(1, 0) + pages(4096, 0) + pages(5000, 1);
    printf("%d of 3\n", good);
    return 0;
}
