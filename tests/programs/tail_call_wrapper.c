/* `return malloc(n)` is a call at -O0; at -O2 it is a jump, and the line is that of the wrapper's caller. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long requests;

__attribute__((noinline)) void *counted_malloc(size_t size)
{
    requests++;
    return malloc(size); /* EXPECT[!O2] leak definitely-lost bytes=96 blocks=2 */
}

__attribute__((noinline)) void counted_free(void *p)
{
    requests--;
    free(p); /* EXPECT[!O2] double-free */
}

__attribute__((noinline)) static int work(const char *text)
{
    char *copy = counted_malloc(48); /* EXPECT[O2] leak definitely-lost bytes=96 blocks=2 */
    strcpy(copy, text);
    return copy[0] + copy[1];
}

int main(void)
{
    int sum = work("abc") + work("xyz");
    char *twice = counted_malloc(5);
    twice[0] = (char)sum;
    sum += twice[0];
    counted_free(twice);
    counted_free(twice); /* EXPECT[O2] double-free */
    printf("%d %lu\n", sum, requests);
    return 0;
}
