/* Writes behind the end of a block, near and a little farther: noticed when the block is freed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Out of the compiler's sight, who may drop stores to what is freed next. */
__attribute__((noinline)) static void put(volatile char *p, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        p[i] = 'x';
}

__attribute__((noinline)) static void terminator(void)
{
    const char *text = "eight or";
    char *copy = malloc(strlen(text)); /* EXPECT heap-overflow */
    put(copy, 0, strlen(text) + 1);
    free(copy);
}

__attribute__((noinline)) static void one_too_many(void)
{
    char *numbers = malloc(10 * sizeof(int)); /* EXPECT heap-overflow */
    put(numbers, 0, 11 * sizeof(int));
    free(numbers);
}

__attribute__((noinline)) static void within_what_malloc_rounds_up_to(void)
{
    char *p = malloc(33); /* EXPECT heap-overflow */
    put(p, 34, 36);
    free(p);
}

__attribute__((noinline)) static void of_no_bytes(void)
{
    char *p = malloc(0); /* EXPECT heap-overflow */
    put(p, 0, 1);
    free(p);
}

__attribute__((noinline)) static void zeroed(void)
{
    char *p = calloc(3, 7); /* EXPECT heap-overflow */
    put(p, 21, 23);
    free(p);
}

__attribute__((noinline)) static void aligned(void)
{
    char *p = aligned_alloc(64, 128); /* EXPECT heap-overflow */
    put(p, 128, 129);
    free(p);
}

__attribute__((noinline)) static void rightly(void)
{
    char *p = malloc(33);
    put(p, 0, 33);
    free(p);
}

int main(void)
{
    terminator();
    one_too_many();
    within_what_malloc_rounds_up_to();
    of_no_bytes();
    zeroed();
    aligned();
    rightly();
    puts("done");
    return 0;
}
