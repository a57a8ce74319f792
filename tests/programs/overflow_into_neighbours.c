/* One overflow that reaches into the next block, live or freed: it is one finding, of the block that was left. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static void put(volatile char *p, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        p[i] = 'x';
}

__attribute__((noinline)) static void into_a_live_one(void)
{
    char *lower = malloc(24); /* EXPECT heap-overflow */
    char *upper = malloc(24);
    put(lower, 24, 24 + 30);
    free(lower);
    free(upper);
}

__attribute__((noinline)) static void seen_at_the_upper_first(void)
{
    char *lower = malloc(40); /* EXPECT heap-overflow */
    char *upper = malloc(40);
    put(lower, 40, 40 + 30);
    free(upper);
    free(lower);
}

__attribute__((noinline)) static void into_a_freed_one(void)
{
    char *lower = malloc(56); /* EXPECT heap-overflow */
    char *upper = malloc(56);
    free(upper);
    put(lower, 56, 56 + 30);
    free(lower);
}

int main(void)
{
    into_a_live_one();
    seen_at_the_upper_first();
    into_a_freed_one();
    puts("done");
    return 0;
}
