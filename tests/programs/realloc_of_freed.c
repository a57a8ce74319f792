/* A vector that is destroyed and then pushed to. */
#include <stdio.h>
#include <stdlib.h>

struct vector {
    int *data;
    int size, room;
};

__attribute__((noinline)) static void push(struct vector *v, int value)
{
    if (v->size == v->room) {
        int room = v->room ? 2 * v->room : 4;
        int *data = realloc(v->data, room * sizeof *data); /* EXPECT invalid-realloc */
        if (!data)
            return;
        v->data = data;
        v->room = room;
    }
    v->data[v->size++] = value;
}

__attribute__((noinline)) static void destroy(struct vector *v)
{
    free(v->data); /* forgets to clear data, size and room */
}

int main(void)
{
    struct vector v = {NULL, 0, 0};
    for (int i = 0; i < 8; i++)
        push(&v, i);
    int last = v.data[7];
    destroy(&v);
    push(&v, 9);
    printf("%d %d\n", last, v.size);
    return 0;
}
