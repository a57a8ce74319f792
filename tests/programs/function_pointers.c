/* An allocator interface: malloc and free are only ever called through pointers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct allocator {
    void *(*get)(size_t);
    void *(*resize)(void *, size_t);
    void (*put)(void *);
};

static const struct allocator system_allocator = {malloc, realloc, free};

struct text {
    const struct allocator *allocator;
    char *data;
};

__attribute__((noinline)) static void set(struct text *t, const char *value)
{
    t->data = t->allocator->get(strlen(value) + 1); /* EXPECT leak definitely-lost bytes=8 blocks=1 */
    strcpy(t->data, value);
}

__attribute__((noinline)) static void append(struct text *t, const char *value)
{
    size_t size = strlen(t->data) + strlen(value) + 1;
    t->data = t->allocator->resize(t->data, size); /* EXPECT leak definitely-lost bytes=15 blocks=1 */
    strcat(t->data, value);
}

__attribute__((noinline)) static void work(const struct allocator *allocator)
{
    struct text a = {allocator, NULL}, b = {allocator, NULL}, c = {allocator, NULL};
    set(&a, "forgot1");
    set(&b, "longer1");
    append(&b, "longer2");
    set(&c, "released");
    printf("%s %s %s\n", a.data, b.data, c.data);
    c.allocator->put(c.data);
}

int main(void)
{
    work(&system_allocator);
    return 0;
}
