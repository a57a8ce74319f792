/* A balanced tree built by recursion; the release forgets the right halves. */
#include <stdio.h>
#include <stdlib.h>

struct tree {
    struct tree *left, *right;
    int value;
};

/* Of fifteen nodes the four of the left spine are freed; their three right children are lost, with all below. */
static struct tree *build(int low, int high)
{
    if (low > high)
        return NULL;
    int middle = (low + high) / 2;
    struct tree *t = malloc(sizeof *t); /* EXPECT leak definitely-lost bytes=72 blocks=3 */ /* EXPECT leak indirectly-lost bytes=192 blocks=8 */
    t->value = middle;
    t->left = build(low, middle - 1);
    t->right = build(middle + 1, high);
    return t;
}

static int sum(const struct tree *t)
{
    return t ? t->value + sum(t->left) + sum(t->right) : 0;
}

static void destroy_badly(struct tree *t)
{
    while (t) {
        struct tree *left = t->left;
        free(t);
        t = left;
    }
}

__attribute__((noinline)) static void work(void)
{
    struct tree *t = build(1, 15);
    printf("%d\n", sum(t));
    destroy_badly(t);
}

int main(void)
{
    work();
    return 0;
}
