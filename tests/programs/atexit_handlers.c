/* Handlers run after main: one frees what main kept, one leaks, they run in reverse order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *kept;
char *cache;

__attribute__((noinline)) static char *copy(const char *text)
{
    char *result = malloc(strlen(text) + 1);
    return strcpy(result, text);
}

static void release(void)
{
    printf("releasing %s\n", kept);
    free(kept);
}

static void leak(void)
{
    char *report = malloc(200); /* EXPECT leak definitely-lost bytes=200 blocks=1 */
    sprintf(report, "report on %s", kept);
    puts(report);
}

static void fill_cache(void)
{
    cache = calloc(3, 100); /* EXPECT leak still-reachable bytes=300 blocks=1 */
    puts("cache filled");
}

int main(void)
{
    atexit(release);
    atexit(leak);
    atexit(fill_cache);
    kept = copy("what main kept");
    puts("main ends");
    return 0;
}
