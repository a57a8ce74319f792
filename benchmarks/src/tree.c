/* A binary search tree of 150,000 nodes: built, searched half a million times, freed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { NODES = 150000, SEARCHES = 500000 };

struct node {
    uint32_t key;
    struct node *child[2];
};

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state;
}

static void insert(struct node **place, uint32_t key)
{
    while (*place != NULL) {
        if ((*place)->key == key)
            return;
        place = &(*place)->child[(*place)->key < key];
    }
    struct node *node = calloc(1, sizeof *node);
    node->key = key;
    *place = node;
}

static int contains(const struct node *node, uint32_t key)
{
    while (node != NULL && node->key != key)
        node = node->child[node->key < key];
    return node != NULL;
}

static void discard(struct node *node)
{
    if (node == NULL)
        return;
    discard(node->child[0]);
    discard(node->child[1]);
    free(node);
}

int main(void)
{
    struct node *root = NULL;
    uint32_t state = 1;
    int found = 0;

    for (int i = 0; i < NODES; i++)
        insert(&root, next(&state) >> 8);
    for (int i = 0; i < SEARCHES; i++)
        found += contains(root, next(&state) >> 8);
    printf("%d\n", found);
    discard(root);
    return 0;
}
