/* A buffer is asked for in every round and released only after the last. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned checksum(const char *text)
{
    unsigned sum = 0;
    while (*text)
        sum = sum * 31 + (unsigned char)*text++;
    return sum;
}

__attribute__((noinline)) static unsigned work(int rounds)
{
    unsigned total = 0;
    char *line = NULL;
    for (int i = 0; i < rounds; i++) {
        line = malloc(32); /* EXPECT leak definitely-lost bytes=288 blocks=9 */
        snprintf(line, 32, "record number %d", i);
        total += checksum(line);
    }
    free(line);
    return total;
}

int main(void)
{
    printf("%u\n", work(10));
    return 0;
}
