/* malloc and free defined over __libc_malloc, to count: the blocks are libc's, the innermost line is the wrapper's. */
/* VALGRIND-FLAGS --soname-synonyms=somalloc=nouserintercepts */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *p);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);

static int live;

void *malloc(size_t size)
{
    live++;
    void *p = __libc_malloc(size); /* EXPECT leak definitely-lost bytes=70 blocks=2 */
    if (!p)
        live--;
    return p;
}

void free(void *p)
{
    if (p)
        live--;
    __libc_free(p);
}

void *calloc(size_t n, size_t size)
{
    live++;
    void *p = __libc_calloc(n, size);
    if (!p)
        live--;
    return p;
}

void *realloc(void *p, size_t size)
{
    if (!p)
        live++;
    void *q = __libc_realloc(p, size);
    return q;
}

/* SKIP linked-statically: there free and realloc cannot be replaced one by one */
/* SKIP optimised: a compiler knows malloc and may drop the pair */
__attribute__((noinline)) static int work(int n)
{
    char *text = malloc(n);
    snprintf(text, n, "%d bytes", n);
    int length = strlen(text);
    if (n < 30)
        free(text);
    return length;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int sum = work(20) + work(30) + work(40);
    printf("%d, %d live\n", sum, live);
    return 0;
}
