/* XOR-linked list and a tagged pointer: to one who looks for addresses, these are no pointers. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct node {
    long value;
    uintptr_t link; /* previous XOR next */
};

static uintptr_t hidden_head;
static uintptr_t tagged;

#define MASK ((uintptr_t)0x5a5a5a5a5a5a5a5a)

__attribute__((noinline)) static void build(int n)
{
    struct node *previous = NULL, *head = NULL;
    for (int i = 0; i < n; i++) {
        struct node *node = malloc(sizeof *node); /* EXPECT leak definitely-lost bytes=64 blocks=4 */
        node->value = i;
        node->link = (uintptr_t)previous ^ MASK;
        if (previous)
            previous->link ^= (uintptr_t)node;
        else
            head = node;
        previous = node;
    }
    previous->link ^= 0;
    hidden_head = (uintptr_t)head ^ MASK;
}

__attribute__((noinline)) static long sum(void)
{
    struct node *previous = NULL, *node = (struct node *)(hidden_head ^ MASK);
    long total = 0;
    while (node) {
        struct node *next = (struct node *)(node->link ^ MASK ^ (uintptr_t)previous);
        total += node->value;
        previous = node;
        node = next;
    }
    return total;
}

/* The lowest bit is a tag: the address points inside the block. */
__attribute__((noinline)) static void tag(void)
{
    long *number = malloc(8); /* EXPECT leak possibly-lost bytes=8 blocks=1 */
    *number = 42;
    tagged = (uintptr_t)number | 1;
}

int main(void)
{
    build(4);
    tag();
    printf("%ld %ld\n", sum(), *(long *)(tagged & ~(uintptr_t)1));
    return 0;
}
