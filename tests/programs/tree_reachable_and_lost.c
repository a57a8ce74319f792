/* Two search trees: one hangs on a global to the end, the other is forgotten. */
#include <stdio.h>
#include <stdlib.h>

struct tree {
    int key;
    struct tree *left, *right;
};

struct tree *kept;

__attribute__((noinline)) static struct tree *leaf_kept(int key)
{
    struct tree *t = calloc(1, sizeof *t); /* EXPECT leak still-reachable bytes=168 blocks=7 */
    t->key = key;
    return t;
}

__attribute__((noinline)) static struct tree *leaf_lost(int key)
{
    struct tree *t = calloc(1, sizeof *t); /* EXPECT leak definitely-lost bytes=24 blocks=1 */ /* EXPECT leak indirectly-lost bytes=144 blocks=6 */
    t->key = key;
    return t;
}

static void insert(struct tree **root, int key, struct tree *(*leaf)(int))
{
    while (*root)
        root = key < (*root)->key ? &(*root)->left : &(*root)->right;
    *root = leaf(key);
}

static int depth(const struct tree *t)
{
    if (!t)
        return 0;
    int left = depth(t->left), right = depth(t->right);
    return 1 + (left > right ? left : right);
}

__attribute__((noinline)) static int build(struct tree **root, struct tree *(*leaf)(int))
{
    static const int keys[] = {50, 30, 70, 20, 40, 60, 80};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        insert(root, keys[i], leaf);
    return depth(*root);
}

__attribute__((noinline)) static int build_and_forget(void)
{
    struct tree *forgotten = NULL;
    return build(&forgotten, leaf_lost);
}

int main(void)
{
    int first = build(&kept, leaf_kept);
    printf("%d %d\n", first, build_and_forget());
    return 0;
}
