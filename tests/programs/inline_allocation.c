/* Small inline constructors: optimised they vanish into their caller, but their line remains. */
#include <stdio.h>
#include <stdlib.h>

struct point {
    int x, y;
};

struct line {
    struct point *from, *to;
};

static inline __attribute__((always_inline)) struct point *point(int x, int y)
{
    struct point *p = malloc(sizeof *p); /* EXPECT leak indirectly-lost bytes=32 blocks=4 */
    p->x = x;
    p->y = y;
    return p;
}

static inline __attribute__((always_inline)) struct line *line(int x, int y)
{
    struct line *l = malloc(sizeof *l); /* EXPECT leak definitely-lost bytes=32 blocks=2 */
    l->from = point(0, 0);
    l->to = point(x, y);
    return l;
}

__attribute__((noinline)) int squared_length(const struct line *l)
{
    int x = l->to->x - l->from->x, y = l->to->y - l->from->y;
    return x * x + y * y;
}

__attribute__((noinline)) static void work(void)
{
    int a = squared_length(line(3, 4));
    int b = squared_length(line(6, 8));
    printf("%d %d\n", a, b);
}

int main(void)
{
    work();
    return 0;
}
