/* A comparison function that makes a copy for every call, deep inside libc's qsort. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int calls;

__attribute__((noinline)) static char *lower(const char *text)
{
    size_t n = strlen(text);
    char *copy = malloc(n + 1);
    for (size_t i = 0; i <= n; i++)
        copy[i] = text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i];
    return copy;
}

static int by_name(const void *a, const void *b)
{
    char *x = lower(*(char *const *)a), *y = lower(*(char *const *)b);
    int result = strcmp(x, y);
    free(x);
    free(y);
    calls++;
    return result;
}

/* The cache keeps one scratch block for the sort and forgets it when a larger one is needed. */
char *scratch;
static size_t scratch_size;

static int by_length(const void *a, const void *b)
{
    size_t x = strlen(*(char *const *)a), y = strlen(*(char *const *)b);
    size_t need = 100 * (x + y);
    if (need > scratch_size) {
        scratch = calloc(1, 2000); /* EXPECT leak still-reachable bytes=2000 blocks=1 */
        scratch_size = 2000;
    }
    return x < y ? -1 : x > y;
}

int main(void)
{
    char *names[] = {"Zoe", "adam", "Bert", "CHRIS", "dora", "Emil", "frida"};
    size_t n = sizeof names / sizeof *names;
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++)
        printf("%s ", names[i]);
    printf("(%d comparisons)\n", calls);
    qsort(names, n, sizeof *names, by_length);
    printf("%zu %zu\n", strlen(names[0]), strlen(names[n - 1]));
    return 0;
}
