/* The wrappers every tool has: xmalloc, which never returns NULL, and xstrdup upon it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) void *xmalloc(size_t size)
{
    void *p = malloc(size); /* EXPECT leak definitely-lost bytes=73 blocks=3 */
    if (!p) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return p;
}

__attribute__((noinline)) char *xstrdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(xmalloc(size), text, size);
}

__attribute__((noinline)) static void one(void)
{
    char *a = xstrdup("twelve bytes"), *b = xstrdup("ten bytes");
    printf("%s, %s\n", a, b);
}

__attribute__((noinline)) static void two(void)
{
    double *table = xmalloc(50);
    table[2] = 2.5;
    char *name = xstrdup("released");
    printf("%s %.1f\n", name, table[2]);
    free(name);
}

int main(void)
{
    one();
    two();
    return 0;
}
