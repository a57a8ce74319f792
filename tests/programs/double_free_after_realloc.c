/* realloc moved the block, the old pointer is freed as if nothing had happened. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile size_t large = 1 << 20;

__attribute__((noinline)) static void *grow(char *old)
{
    return realloc(old, large);
}

int main(void)
{
    char *old = malloc(16);
    char *fence = malloc(16); /* keeps the block from growing in place */
    strcpy(old, "old contents");
    char *moved = grow(old);
    int same = moved == old;
    free(old); /* EXPECT double-free */
    printf("%s %d\n", moved, same);
    free(moved);
    free(fence);
    return 0;
}
