/* realloc of what is no block: refused, nothing is lost by it but the good block beside it. */
/* SKIP optimised: realloc becomes a jump, and the line the caller's */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char fixed[32] = "not from malloc";

__attribute__((noinline)) static void *identity(void *p)
{
    return p;
}

__attribute__((noinline)) static char *extend(char *text, size_t size)
{
    char *result = realloc(identity(text), size); /* EXPECT invalid-realloc */
    return result;
}

int main(void)
{
    char *good = malloc(8);
    strcpy(good, "good");
    good = extend(good, 100);
    printf("%s\n", good);

    char *bad = extend(fixed, 100);
    printf("%s\n", bad ? bad : "(null)");

    char *shifted = extend(good + 8, 200);
    printf("%s\n", shifted ? shifted : "(null)");
    free(good);
    return 0;
}
