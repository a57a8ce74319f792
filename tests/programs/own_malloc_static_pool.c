/* A program with an allocator of its own over a static pool: there is no heap of libc's to speak of. */
/* CLEAN */
/* VALGRIND-FLAGS --soname-synonyms=somalloc=nouserintercepts */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static _Alignas(16) unsigned char pool[1 << 16];
static size_t used;
static int gets, puts_back;

void *malloc(size_t size)
{
    size_t room = (size + 31) & ~(size_t)15;
    if (size > sizeof pool || used + room > sizeof pool)
        return NULL;
    unsigned char *p = pool + used;
    *(size_t *)p = size;
    used += room;
    gets++;
    return p + 16;
}

void free(void *p)
{
    if (p)
        puts_back++;
}

void *calloc(size_t n, size_t size)
{
    void *p = malloc(n * size);
    return p ? memset(p, 0, n * size) : NULL;
}

void *realloc(void *old, size_t size)
{
    void *p = malloc(size);
    if (p && old) {
        size_t before = *(size_t *)((unsigned char *)old - 16);
        memcpy(p, old, before < size ? before : size);
    }
    return p;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int before = gets; /* linked statically, libc asks before main */
    char *volatile text = malloc(20);
    strcpy(text, "from the pool");
    char *volatile twice = realloc(text, 40);
    int *volatile zero = calloc(4, 4);
    printf("%s %d\n", twice, zero[3]);
    free(twice);
    printf("inside: %d\n", (unsigned char *)twice >= pool && (unsigned char *)twice < pool + sizeof pool);
    printf("%d gets, %d puts\n", gets - before, puts_back);
    return 0;
}
