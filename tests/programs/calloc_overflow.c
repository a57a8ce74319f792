/* n * size does not fit: calloc must refuse, reallocarray too; what was there before stays. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#define _GNU_SOURCE
#include <stdlib.h>

void *reallocarray(void *, size_t, size_t);

struct matrix {
    size_t rows, columns;
    double *cells;
};

__attribute__((noinline)) static struct matrix *make(size_t rows, size_t columns)
{
    struct matrix *m = malloc(sizeof *m); /* EXPECT leak definitely-lost bytes=24 blocks=1 */
    m->rows = rows;
    m->columns = columns;
    m->cells = calloc(rows, columns * sizeof(double)); /* EXPECT invalid-size */ /* VALGRIND differs: not its product */
    if (!m->cells)
        return NULL; /* forgets m */
    return m;
}

int main(void)
{
    volatile size_t huge = SIZE_MAX / 16;
    struct matrix *good = make(3, 4);
    struct matrix *bad = make(huge, 4);
    printf("%s %s\n", good ? "good" : "null", bad ? "bad" : "null");

    errno = 0;
    double *more = reallocarray(good->cells, huge, 32); /* EXPECT invalid-size */ /* VALGRIND differs: not its product */
    printf("%s %d\n", more ? "granted" : "refused", errno == ENOMEM);
    more = reallocarray(good->cells, 5, 4 * sizeof(double));
    printf("%g\n", more[11]);
    free(more);
    free(good);
    return 0;
}
