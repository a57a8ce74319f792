/* Overflows and underflows of blocks of many megabytes, freed or resized. */
#include <stdio.h>
#include <stdlib.h>

#define SIZE ((size_t)40 << 20)

__attribute__((noinline)) static void put(volatile char *p, long at)
{
    p[at] = 'x';
}

int main(void)
{
    char *p = malloc(SIZE); /* EXPECT heap-overflow */
    put(p, SIZE - 1);
    put(p, SIZE + 4);
    free(p);

    char *q = calloc(SIZE, 1); /* EXPECT heap-underflow */
    put(q, -1);
    q = realloc(q, SIZE + SIZE / 2); /* EXPECT heap-overflow */
    put(q, SIZE + SIZE / 2);
    free(q);

    char *r = malloc(SIZE);
    put(r, SIZE - 1);
    free(r);
    puts("done");
    return 0;
}
