/* A function frees its argument when it fails; its caller does too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static int validate(char *text)
{
    if (strlen(text) > 8) {
        free(text);
        return 0;
    }
    return 1;
}

__attribute__((noinline)) static int submit(const char *input)
{
    char *text = malloc(strlen(input) + 1);
    strcpy(text, input);
    int good = validate(text);
    free(text); /* EXPECT double-free */
    return good;
}

int main(void)
{
    int a = submit("short");
    int b = submit("much too long");
    printf("%d %d\n", a, b);
    return 0;
}
