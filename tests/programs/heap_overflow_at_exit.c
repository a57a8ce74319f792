/* Writes behind the end of blocks that are never freed: noticed when the program ends. */
#include <stdio.h>
#include <stdlib.h>

static char *kept;
static char *large;

__attribute__((noinline)) static void put(volatile char *p, size_t at)
{
    p[at] = 'x';
}

__attribute__((noinline)) static void keep(void)
{
    kept = malloc(20); /* EXPECT leak still-reachable bytes=20 blocks=1 */ /* EXPECT heap-overflow */
    put(kept, 20);
    large = malloc(300000); /* EXPECT leak still-reachable bytes=300000 blocks=1 */ /* EXPECT heap-overflow */
    put(large, 300003);
}

__attribute__((noinline)) static int forget(void)
{
    char *lost = malloc(56); /* EXPECT leak definitely-lost bytes=56 blocks=1 */ /* EXPECT heap-overflow */
    put(lost, 57);
    return lost[0];
}

int main(void)
{
    keep();
    forget();
    puts("done");
    return 0;
}
