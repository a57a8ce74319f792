/* 20,000 frames deep when it allocates; the way back frees all but one in a thousand. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static long descend(int depth)
{
    if (depth == 0)
        return 0;
    volatile int *mark = malloc(sizeof *mark); /* EXPECT leak definitely-lost bytes=80 blocks=20 */
    *mark = depth;
    long below = descend(depth - 1);
    long result = below + *mark;
    if (depth % 1000)
        free((void *)mark);
    return result;
}

int main(void)
{
    printf("%ld\n", descend(20000));
    return 0;
}
