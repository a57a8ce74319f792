/* An error handler that jumps over the function which owned the buffer. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf handler;

__attribute__((noinline)) static int digit(char c)
{
    if (c < '0' || c > '9')
        longjmp(handler, 2);
    return c - '0';
}

__attribute__((noinline)) static int parse(const char *text)
{
    char *copy = malloc(16); /* EXPECT leak definitely-lost bytes=32 blocks=2 */
    int value = 0;
    strncpy(copy, text, 15);
    copy[15] = '\0';
    for (char *p = copy; *p; p++)
        value = 10 * value + digit(*p);
    free(copy);
    return value;
}

__attribute__((noinline)) static void attempt(const char *text)
{
    int failure = setjmp(handler);
    if (failure == 0)
        printf("%d\n", parse(text));
    else
        printf("error %d in %s\n", failure, text);
}

int main(void)
{
    attempt("1234");
    attempt("12x4");
    attempt("99");
    attempt("none");
    return 0;
}
