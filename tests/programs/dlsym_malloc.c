/* malloc and free found by name at run time, as plug-in hosts and tracers do. */
/* FLAGS -ldl */
/* SKIP linked-statically: there is nothing to look names up in */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *(*malloc_function)(size_t);
typedef void (*free_function)(void *);

static malloc_function get;
static free_function put;

__attribute__((noinline)) static int work(int n)
{
    char *text = get(n); /* EXPECT leak definitely-lost bytes=77 blocks=1 */
    memset(text, 'x', n - 1);
    text[n - 1] = '\0';
    int length = strlen(text);
    if (n != 77)
        put(text);
    return length;
}

int main(void)
{
    get = (malloc_function)dlsym(RTLD_DEFAULT, "malloc");
    put = (free_function)dlsym(RTLD_DEFAULT, "free");
    if (!get || !put)
        return 1;
    int length = work(10) + work(77) + work(100);
    printf("%d\n", length);
    return 0;
}
