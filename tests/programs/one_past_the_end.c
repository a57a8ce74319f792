/* A pointer just behind the last byte is not a pointer to the block. */
#include <stdio.h>
#include <stdlib.h>

static long *end;
static char *last_byte;

__attribute__((noinline)) static void fill(int n)
{
    long *numbers = malloc(n * sizeof *numbers); /* EXPECT leak definitely-lost bytes=64 blocks=1 */
    end = numbers;
    while (end < numbers + n)
        *end++ = 7;
}

__attribute__((noinline)) static void keep_last_byte(void)
{
    char *bytes = malloc(48); /* EXPECT leak possibly-lost bytes=48 blocks=1 */
    for (int i = 0; i < 48; i++)
        bytes[i] = 'a' + i % 26;
    last_byte = bytes + 47;
}

int main(void)
{
    fill(8);
    keep_last_byte();
    printf("%ld %c\n", end[-1], *last_byte);
    return 0;
}
