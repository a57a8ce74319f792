/* Sizes that were computed wrongly: negative ones, and products that do not fit. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static volatile long minus = -1;
static volatile size_t many = SIZE_MAX / 8;

__attribute__((noinline)) static void *buffer(long used, long header)
{
    return malloc(used - header); /* EXPECT[!optimised] invalid-size */
}
/* SKIP optimised: malloc becomes a jump, and the line the caller's */

int main(void)
{
    char *p = buffer(10, 20);
    printf("%s %d\n", p ? "block" : "null", errno == ENOMEM);
    p = calloc(minus, 1); /* EXPECT invalid-size */
    printf("%s\n", p ? "block" : "null");
    p = calloc(many, 16); /* EXPECT invalid-size */ /* VALGRIND differs: it says nothing of a product that does not fit */
    printf("%s\n", p ? "block" : "null");
    char *kept = malloc(16);
    p = realloc(kept, minus); /* EXPECT invalid-size */
    printf("%s\n", p ? "block" : "null");
    p = reallocarray(kept, many, 16); /* EXPECT invalid-size */ /* VALGRIND differs: as above */
    printf("%s\n", p ? "block" : "null");
    free(kept);
    p = malloc(SIZE_MAX / 4); /* too much, but a size */
    printf("%s\n", p ? "block" : "null");
    return 0;
}
