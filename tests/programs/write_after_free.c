/* Blocks that are written to after they were freed: a dangling pointer in a list, a callback's buffer, a large one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
    struct node *next;
    int marked;
};

__attribute__((noinline)) static struct node *make(struct node *next)
{
    struct node *node = malloc(sizeof *node); /* EXPECT write-after-free */
    node->next = next;
    node->marked = 0;
    return node;
}

__attribute__((noinline)) static void mark(volatile struct node *node)
{
    node->marked = 1;
}

__attribute__((noinline)) static void put(volatile char *p, size_t at)
{
    p[at] = 'x';
}

__attribute__((noinline)) static void list(void)
{
    struct node *second = make(NULL), *first = make(second);
    free(second);
    mark(first);
    mark(second); /* still known by its old name */
    free(first);
}

__attribute__((noinline)) static void buffer(void)
{
    char *p = malloc(500); /* EXPECT write-after-free */
    memset(p, 'b', 500);
    free(p);
    put(p, 499);
}

__attribute__((noinline)) static void large(void)
{
    char *p = malloc(50000); /* EXPECT write-after-free */
    free(p);
    put(p, 40000);
}

__attribute__((noinline)) static void moved(void)
{
    char *p = malloc(30); /* EXPECT write-after-free */
    char *q = realloc(p, 60);
    put(p, 3);
    free(q);
}

int main(void)
{
    list();
    buffer();
    large();
    moved();
    puts("done");
    return 0;
}
