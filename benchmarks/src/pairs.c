/* malloc and free and nothing between them, half a million times: the price of an intercepted call. */
#include <stdio.h>
#include <stdlib.h>

enum { PAIRS = 500000 };

int main(void)
{
    unsigned long sum = 0;

    for (int i = 0; i < PAIRS; i++) {
        char *block = malloc(16 + i % 64);
        block[0] = (char)i;
        sum += (unsigned char)block[0];
        free(block);
    }
    printf("%lu\n", sum);
    return 0;
}
