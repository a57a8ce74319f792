/* exit() in the middle: frames above still hold their pointers, so the blocks are not lost. */
/* EXIT 3 */
/* SKIP optimised: there the pointers may be in no frame */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *why)
{
    printf("fatal: %s\n", why);
    exit(3);
}

__attribute__((noinline)) static void inner(int level, const char *path)
{
    char *copy = strdup(path); /* EXPECT leak still-reachable bytes=40 blocks=4 */
    if (level == 0)
        fail(copy);
    inner(level - 1, copy);
    printf("never %s\n", copy);
}

__attribute__((noinline)) static void forget(void)
{
    char *lost = malloc(17); /* EXPECT leak definitely-lost bytes=17 blocks=1 */
    lost[0] = 'x';
}

int main(void)
{
    int *numbers = malloc(10 * sizeof *numbers); /* EXPECT leak still-reachable bytes=40 blocks=1 */
    numbers[0] = 3;
    forget();
    inner(numbers[0], "/etc/nope");
    free(numbers);
    return 0;
}
