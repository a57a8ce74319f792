/* p = realloc(p, n): when it fails the old block stays, and its only pointer has just been overwritten. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
    char *data;
    size_t size;
};

__attribute__((noinline)) static int append(struct buffer *b, const char *text, size_t room)
{
    b->data = realloc(b->data, room); /* EXPECT leak definitely-lost bytes=32 blocks=1 */
    if (!b->data)
        return 0;
    memcpy(b->data + b->size, text, strlen(text) + 1);
    b->size += strlen(text);
    return 1;
}

__attribute__((noinline)) static void work(void)
{
    struct buffer b = {NULL, 0};
    append(&b, "hello, ", 16);
    append(&b, "world", 32);
    printf("%s\n", b.data);
    if (!append(&b, "!", SIZE_MAX / 4))
        printf("out of memory\n");
    free(b.data);
}

int main(void)
{
    work();
    return 0;
}
