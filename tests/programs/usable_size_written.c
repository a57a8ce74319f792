/* A program that asks how much a block has may use all of it: no overflow. */
/* CLEAN */
/* VALGRIND totals differ: there malloc_usable_size says what was asked for */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
    char *bytes;
    size_t length, room;
};

static void append(struct text *t, const char *more)
{
    size_t length = strlen(more);
    if (t->length + length >= t->room) {
        t->bytes = realloc(t->bytes, t->length + length + 1);
        t->room = malloc_usable_size(t->bytes);
    }
    memcpy(t->bytes + t->length, more, length + 1);
    t->length += length;
}

__attribute__((noinline)) static void fill(size_t size)
{
    char *p = malloc(size);
    size_t usable = malloc_usable_size(p);
    memset(p, 'x', usable);
    p = realloc(p, usable + 1);
    p[usable] = 'y';
    free(p);
}

int main(void)
{
    struct text t = {NULL, 0, 0};
    for (int i = 0; i < 100; i++)
        append(&t, "word ");
    printf("%zu\n", t.length);
    free(t.bytes);
    static const size_t sizes[] = {0, 1, 23, 25, 100, 1000, 1001, 5000, 200000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        fill(sizes[i]);
    return 0;
}
