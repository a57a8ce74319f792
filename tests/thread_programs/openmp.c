#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

static int fibonacci(int n) {
    int a, b;
    if (n < 2)
        return n;
#pragma omp task shared(a) if (n > 8)
    a = fibonacci(n - 1);
#pragma omp task shared(b) if (n > 8)
    b = fibonacci(n - 2);
#pragma omp taskwait
    return a + b;
}

int main(void) {
    long sum = 0, critical = 0;
    int *squares = malloc(1000 * sizeof *squares), threads = 0, result = 0;
    omp_set_num_threads(4);
#pragma omp parallel for reduction(+ : sum) schedule(dynamic, 7)
    for (int i = 0; i < 1000; i++) {
        squares[i] = i * i;
        sum += squares[i];
    }
#pragma omp parallel
    {
#pragma omp single
        threads = omp_get_num_threads();
#pragma omp critical
        critical += omp_get_thread_num();
#pragma omp barrier
#pragma omp single
        result = fibonacci(14);
    }
#pragma omp parallel for ordered
    for (int i = 0; i < 5; i++) {
#pragma omp ordered
        printf("%d ", i);
    }
    printf("\n%ld %d %ld %d\n", sum, threads, critical, result);
    free(squares);
    return 0;
}
