/* quick_exit runs its own handlers only. */
/* EXIT 4 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int *numbers;

static void at_quick(void)
{
    volatile int *extra = malloc(28); /* EXPECT leak definitely-lost bytes=28 blocks=1 */
    extra[0] = numbers[1];
    if (write(1, extra[0] == 5 ? "five\n" : "none\n", 5) != 5)
        _exit(1);
}

static void at_normal(void)
{
    free(numbers);
}

int main(void)
{
    at_quick_exit(at_quick);
    atexit(at_normal);
    numbers = malloc(12); /* EXPECT leak still-reachable bytes=12 blocks=1 */
    numbers[1] = 5;
    quick_exit(4);
}
