/* realloc(p, 0) releases the block in glibc; the program then keeps NULL and asks anew. It is told, and does not count. */
#include <stdio.h>
#include <stdlib.h>

struct stack {
    int *items;
    size_t count;
};

static void resize(struct stack *s, size_t count)
{
    s->items = realloc(s->items, count * sizeof *s->items); /* EXPECT realloc-zero */ /* VALGRIND differs: 3.19 is silent */
    s->count = count;
}

int main(void)
{
    struct stack s = {NULL, 0};
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5; i++) {
            resize(&s, s.count + 1);
            s.items[s.count - 1] = round * 10 + i;
        }
        printf("%d\n", s.items[s.count - 1]);
        while (s.count)
            resize(&s, s.count - 1);
        printf("%s\n", s.items ? "kept" : "released");
    }
    return 0;
}
