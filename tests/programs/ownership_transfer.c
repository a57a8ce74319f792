/* A queue takes over its items; the one refused when it is full belongs to nobody. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 3

struct queue {
    char *items[ROOM];
    int first, count;
};

__attribute__((noinline)) static int push(struct queue *q, char *item)
{
    if (q->count == ROOM)
        return 0; /* the caller should free, and does not */
    q->items[(q->first + q->count++) % ROOM] = item;
    return 1;
}

__attribute__((noinline)) static char *pop(struct queue *q)
{
    char *item = q->items[q->first];
    q->items[q->first] = NULL;
    q->first = (q->first + 1) % ROOM;
    q->count--;
    return item;
}

__attribute__((noinline)) static char *item(int number)
{
    char *text = malloc(12 + number); /* EXPECT leak definitely-lost bytes=31 blocks=2 */
    sprintf(text, "item %d", number);
    return text;
}

__attribute__((noinline)) static void work(void)
{
    struct queue *q = calloc(1, sizeof *q);
    int refused = 0;
    for (int i = 0; i < 5; i++)
        refused += !push(q, item(i));
    while (q->count) {
        char *text = pop(q);
        puts(text);
        free(text);
    }
    printf("%d refused\n", refused);
    free(q);
}

int main(void)
{
    work();
    return 0;
}
