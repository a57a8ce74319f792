/* A doubly linked list is a cycle: one node counts as definitely lost, the others hang on it. */
#include <stdio.h>
#include <stdlib.h>

struct node {
    struct node *prev, *next;
    long value;
};

struct list {
    struct node *first, *last;
};

__attribute__((noinline)) static void append(struct list *list, long value)
{
    struct node *node = malloc(sizeof *node); /* EXPECT leak definitely-lost bytes=24 blocks=1 */ /* EXPECT leak indirectly-lost bytes=96 blocks=4 */
    node->value = value;
    node->next = NULL;
    node->prev = list->last;
    if (list->last)
        list->last->next = node;
    else
        list->first = node;
    list->last = node;
}

__attribute__((noinline)) static long product(void)
{
    struct list list = {NULL, NULL};
    long result = 1;
    for (long i = 1; i <= 5; i++)
        append(&list, i);
    for (struct node *n = list.last; n; n = n->prev)
        result *= n->value;
    return result;
}

int main(void)
{
    printf("%ld\n", product());
    return 0;
}
