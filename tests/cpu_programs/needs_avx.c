#include <stdio.h>
#include <stdlib.h>

/* Built for AVX and more: each of these is the first function of its kind that runs. */
__attribute__((noinline)) double scalar(double a, double b, double c) { return a + b * c - a; }

int main(int argc, char **argv) {
    void *lost = malloc(100);
    (void)argv;
    printf("%d\n", lost != 0);
    fflush(stdout);
    printf("%.17g\n", scalar(argc + 0.5, argc * 3.25, argc / 7.0));
    return 0;
}
