/* An array that grows too late: the overflow is noticed when it is resized, once, and what was written is not kept. */
#include <stdio.h>
#include <stdlib.h>

struct array {
    int *items;
    int count, room;
};

__attribute__((noinline)) static void store(volatile int *place, int value)
{
    *place = value;
}

__attribute__((noinline)) static void push(struct array *a, int value)
{
    if (a->count > a->room) { /* should be >= */
        a->room *= 2;
        a->items = realloc(a->items, a->room * sizeof *a->items); /* EXPECT heap-overflow */ /* VALGRIND differs: it merges writes of one stack */
    }
    store(a->items + a->count++, value);
}

int main(void)
{
    struct array a = {malloc(4 * sizeof(int)), 0, 4}; /* EXPECT heap-overflow */
    for (int i = 0; i < 10; i++)
        push(&a, i);
    printf("%d\n", a.items[7]);
    free(a.items);
    return 0;
}
