/* A region allocator: big chunks in a chain, small objects inside; the last region is never released. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct chunk {
    struct chunk *next;
    size_t used;
    char bytes[1000];
};

struct region {
    struct chunk *chunks;
};

static struct region permanent;

__attribute__((noinline)) static void *take(struct region *r, size_t size)
{
    if (!r->chunks || r->chunks->used + size > sizeof r->chunks->bytes) {
        struct chunk *c = malloc(sizeof *c); /* EXPECT leak still-reachable bytes=3048 blocks=3 */
        c->next = r->chunks;
        c->used = 0;
        r->chunks = c;
    }
    void *p = r->chunks->bytes + r->chunks->used;
    r->chunks->used += (size + 7) & ~(size_t)7;
    return p;
}

static void release(struct region *r)
{
    while (r->chunks) {
        struct chunk *next = r->chunks->next;
        free(r->chunks);
        r->chunks = next;
    }
}

__attribute__((noinline)) static int fill(struct region *r, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        char *text = take(r, 40);
        snprintf(text, 40, "object %d", i);
        sum += strlen(text);
    }
    return sum;
}

int main(void)
{
    struct region temporary = {NULL};
    int a = fill(&temporary, 200), b = fill(&permanent, 60);
    release(&temporary);
    printf("%d %d\n", a, b);
    return 0;
}
