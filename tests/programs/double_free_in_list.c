/* A node is in two lists: the second destruction meets what the first has freed. */
#include <stdio.h>
#include <stdlib.h>

struct item {
    int id;
};

struct bag {
    struct item *items[8];
    int count;
};

static struct item *make(int id)
{
    struct item *item = malloc(sizeof *item);
    item->id = id;
    return item;
}

static void add(struct bag *bag, struct item *item)
{
    bag->items[bag->count++] = item;
}

__attribute__((noinline)) static void destroy(struct bag *bag)
{
    for (int i = 0; i < bag->count; i++)
        free(bag->items[i]); /* EXPECT double-free */
    bag->count = 0;
}

int main(void)
{
    struct bag even = {{0}, 0}, small = {{0}, 0};
    for (int i = 1; i <= 6; i++) {
        struct item *item = make(i);
        if (i % 2 == 0)
            add(&even, item);
        if (i <= 3 || i == 5)
            add(&small, item);
    }
    printf("%d even, %d small\n", even.count, small.count);
    destroy(&even);
    destroy(&small); /* item 2 is in both */
    return 0;
}
