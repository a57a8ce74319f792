/* Streams left open: libc's list of streams still reaches them. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static int first_byte(const char *path)
{
    FILE *in = fopen(path, "rb"); /* EXPECT leak still-reachable bytes=944 blocks=2 */
    if (!in)
        return -1;
    setvbuf(in, NULL, _IONBF, 0);
    int c = getc(in);
    if (c == EOF)
        return -2; /* forgets to close */
    fclose(in);
    return c;
}

int main(void)
{
    printf("%d\n", first_byte("/does/not/exist"));
    printf("%d\n", first_byte("/dev/null"));
    printf("%d\n", first_byte("/dev/null"));
    printf("%d\n", first_byte("/dev/zero"));
    return 0;
}
