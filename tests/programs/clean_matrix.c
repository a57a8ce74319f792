/* Matrices of doubles, multiplied and printed: SSE and x87, and not a byte lost. */
/* CLEAN */
/* VALGRIND output differs: it computes long double in 64 bits */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
/* FLAGS -lm */

static double **make(int n)
{
    double **m = malloc(n * sizeof *m);
    m[0] = calloc(n * n, sizeof **m);
    for (int i = 1; i < n; i++)
        m[i] = m[0] + i * n;
    return m;
}

static void destroy(double **m)
{
    free(m[0]);
    free(m);
}

static double **multiply(double **a, double **b, int n)
{
    double **c = make(n);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            for (int k = 0; k < n; k++)
                c[i][j] += a[i][k] * b[k][j];
    return c;
}

int main(void)
{
    int n = 5;
    double **a = make(n), **b = make(n);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            a[i][j] = 1.0 / (i + j + 1);
            b[i][j] = sqrt(i * n + j);
        }
    double **c = multiply(a, b, n);
    for (int i = 0; i < n; i++)
        printf("%.15g %e %a\n", c[i][0], c[i][i], c[i][n - 1]);

    volatile long double third = 1.0L / 3.0L;
    volatile float single = 1.0f / 3.0f;
    printf("%.21Lg %.9g %.17g\n", third, single, (double)(third * 3));
    printf("%.12f %.12f %.12f\n", sin(1.0), exp(2.5), pow(2.0, 0.5));
    printf("%g %g %g\n", INFINITY, -INFINITY, copysign(0.0, -1.0));
    destroy(a);
    destroy(b);
    destroy(c);
    return 0;
}
