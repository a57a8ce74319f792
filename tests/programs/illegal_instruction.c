/* A trap for the impossible case, which comes to pass. */
/* SIGNAL SIGILL */
#include <stdio.h>
#include <stdlib.h>

enum shape { CIRCLE, SQUARE, TRIANGLE };

static double *areas;

__attribute__((noinline)) static double area(enum shape shape, double size)
{
    switch (shape) {
    case CIRCLE:
        return 3.14159 * size * size;
    case SQUARE:
        return size * size;
    default:
        __builtin_trap();
    }
}

__attribute__((noinline)) static void forget(void)
{
    double *scratch = malloc(5 * sizeof *scratch); /* EXPECT leak definitely-lost bytes=40 blocks=1 */
    scratch[4] = 1;
}

int main(void)
{
    areas = malloc(3 * sizeof *areas); /* EXPECT leak still-reachable bytes=24 blocks=1 */
    /* SKIP optimised: a compiler may drop the block that is never read */
    forget();
    for (volatile int s = CIRCLE; s <= TRIANGLE; s++) {
        areas[s] = area(s, 2.0);
        printf("%.3f\n", areas[s]);
        fflush(stdout);
    }
    return 0;
}
