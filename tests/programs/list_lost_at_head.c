/* A singly linked list whose only pointer, the head, goes out of scope. */
#include <stdio.h>
#include <stdlib.h>

struct node {
    int value;
    struct node *next;
};

/* The last node pushed is the head: definitely lost; all behind it hang on it. */
__attribute__((noinline)) static struct node *push(struct node *head, int value)
{
    struct node *node = malloc(sizeof *node); /* EXPECT leak definitely-lost bytes=16 blocks=1 */ /* EXPECT leak indirectly-lost bytes=144 blocks=9 */
    node->value = value;
    node->next = head;
    return node;
}

__attribute__((noinline)) static int sum_of_list(void)
{
    struct node *head = NULL;
    int sum = 0;
    for (int i = 1; i <= 10; i++)
        head = push(head, i);
    for (struct node *n = head; n; n = n->next)
        sum += n->value;
    return sum;
}

int main(void)
{
    printf("sum %d\n", sum_of_list());
    return 0;
}
