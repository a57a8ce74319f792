/* malloc(0) gives a pointer that must be freed like any other. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static void *nothing(void)
{
    return malloc(0); /* EXPECT leak definitely-lost bytes=0 blocks=2 */
    /* SKIP optimised: the call is a jump there, and the line the caller's */
}

__attribute__((noinline)) static void work(void)
{
    void *a = nothing(), *b = nothing(), *c = nothing();
    printf("%s\n", a && b && c && a != b && b != c ? "three different pointers" : "surprise");
    free(b);
    free(NULL);
    free(calloc(0, 8));
    free(calloc(8, 0));
}

int main(void)
{
    work();
    return 0;
}
