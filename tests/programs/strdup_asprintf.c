/* Blocks that libc allocates on the program's behalf belong to the program: the line is the call's. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static size_t describe(int number)
{
    char *text = NULL;
    char *first = strdup("strdup'ed"); /* EXPECT leak definitely-lost bytes=20 blocks=2 */
    char *second = strndup("strndup'ed and cut", 10); /* EXPECT leak definitely-lost bytes=22 blocks=2 */
    int length = asprintf(&text, "%s %s %d", first, second, number); /* EXPECT leak definitely-lost bytes=46 blocks=2 */
    printf("%s\n", text);
    return length;
}

__attribute__((noinline)) static void correct(void)
{
    char *copy = strdup("released");
    printf("%s\n", copy);
    free(copy);
}

int main(void)
{
    size_t total = describe(1) + describe(2);
    correct();
    printf("%zu\n", total);
    return 0;
}
