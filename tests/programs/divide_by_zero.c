/* SIGFPE in the middle of a computation. */
/* SIGNAL SIGFPE */
#include <stdio.h>
#include <stdlib.h>

static int *results;

__attribute__((noinline)) static int divide(int a, volatile int b)
{
    int *note = malloc(sizeof *note * 3); /* EXPECT leak definitely-lost bytes=36 blocks=3 */ /* EXPECT leak still-reachable bytes=12 blocks=1 */
    note[0] = a;
    return note[0] / b;
}

__attribute__((noinline)) static int safe_divide(int a, int b)
{
    int result = divide(a, b);
    printf("%d / %d = %d\n", a, b, result);
    fflush(stdout);
    return result;
}

int main(void)
{
    /* SKIP optimised: the block of the last call may be in a register or in none */
    results = calloc(4, sizeof *results); /* EXPECT leak still-reachable bytes=16 blocks=1 */
    for (int i = 3; i >= 0; i--)
        results[i] = safe_divide(100, i); 
    return 0;
}
