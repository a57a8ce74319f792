/* The textbook's first example: two blocks, of which one is released. */
#include <stdlib.h>

int main(void)
{
    size_t s1 = 40;
    size_t s2 = 24;

    void *p1 = malloc(s2);
    void *p2 = malloc(s1); /* EXPECT leak definitely-lost bytes=40 blocks=1 */
    /* SKIP optimised: a compiler may drop both calls */

    free(p1);
    return 0;
}
