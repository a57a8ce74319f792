/* Has functions for CPUs with and without AVX2, and takes the one that the CPU can run. */
#include <stdio.h>

__attribute__((target("avx2"))) static long wide(const int *numbers, int count) {
    long sum = 0;
    for (int i = 0; i < count; i++)
        sum += numbers[i] * (numbers[i] >> 1);
    return sum;
}

static long narrow(const int *numbers, int count) {
    long sum = 0;
    for (int i = 0; i < count; i++)
        sum += numbers[i] * (numbers[i] >> 1);
    return sum;
}

__attribute__((target_clones("avx2", "fma", "default"))) double dot(const double *a, const double *b, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

int main(void) {
    int numbers[100];
    double parts[100];
    for (int i = 0; i < 100; i++)
        numbers[i] = i * 7, parts[i] = i * 0.5;
    printf("%ld\n", __builtin_cpu_supports("avx2") ? wide(numbers, 100) : narrow(numbers, 100));
    printf("%.17g\n", dot(parts, parts, 100));
    return 0;
}
