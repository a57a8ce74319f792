/* 100,000 blocks alive at once; one in a hundred is forgotten. */
#include <stdio.h>
#include <stdlib.h>

#define COUNT 100000

__attribute__((noinline)) static long run(void)
{
    int **blocks = malloc(COUNT * sizeof *blocks);
    long sum = 0;
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(8 + i % 3 * 8); /* EXPECT leak definitely-lost bytes=16008 blocks=1000 */
        *blocks[i] = i;
    }
    for (int i = 0; i < COUNT; i++)
        sum += *blocks[i];
    for (int i = 0; i < COUNT; i++) {
        if (i % 100 != 50)
            free(blocks[i]);
    }
    free(blocks);
    return sum;
}

int main(void)
{
    printf("%ld\n", run());
    return 0;
}
