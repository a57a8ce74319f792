/* The same pointer twice, in one function. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static double mean(int n)
{
    double *values = malloc(n * sizeof *values);
    double total = 0;
    for (int i = 0; i < n; i++)
        values[i] = i * 1.5;
    for (int i = 0; i < n; i++)
        total += values[i];
    free(values);
    if (n > 4)
        free(values); /* EXPECT double-free */
    return total / n;
}

int main(void)
{
    double few = mean(4);
    double many = mean(8);
    printf("%.2f %.2f\n", few, many);
    return 0;
}
