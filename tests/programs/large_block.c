/* 100 MB in one block, touched in a few places only. */
#include <stdio.h>
#include <stdlib.h>

#define SIZE (100u * 1024 * 1024)

__attribute__((noinline)) static unsigned sample(unsigned char *bytes)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < SIZE; i += SIZE / 16)
        bytes[i] = (unsigned char)(i >> 20) | 1;
    for (unsigned i = 0; i < SIZE; i += SIZE / 32)
        sum += bytes[i];
    return sum;
}

__attribute__((noinline)) static unsigned forget(void)
{
    unsigned char *bytes = calloc(SIZE, 1); /* EXPECT leak definitely-lost bytes=104857600 blocks=1 */ /* VALGRIND differs: the hashes of GLIBC_2.x in ld.so (0xd6969..) fall inside so large a block on its low heap, and pass for pointers */
    return sample(bytes);
}

__attribute__((noinline)) static unsigned release(void)
{
    unsigned char *bytes = calloc(SIZE, 1);
    unsigned sum = sample(bytes);
    free(bytes);
    return sum;
}

int main(void)
{
    unsigned a = release(), b = forget();
    printf("%u %u\n", a, b);
    return 0;
}
