/* The callee allocates, the caller does not know that it now owns the result. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static char *to_upper_copy(const char *text)
{
    size_t length = strlen(text);
    char *copy = malloc(length + 1); /* EXPECT leak definitely-lost bytes=18 blocks=3 */
    for (size_t i = 0; i <= length; i++)
        copy[i] = text[i] >= 'a' && text[i] <= 'z' ? text[i] - 32 : text[i];
    return copy;
}

__attribute__((noinline)) static int *squares(int n)
{
    int *table = calloc(n, sizeof *table);
    for (int i = 0; i < n; i++)
        table[i] = i * i;
    return table;
}

__attribute__((noinline)) static void greet(void)
{
    printf("%s, %s and %s\n", to_upper_copy("alice"), to_upper_copy("bob"), to_upper_copy("carol22"));
}

int main(void)
{
    greet();
    int *table = squares(6);
    printf("%d\n", table[5]);
    free(table);
    return 0;
}
