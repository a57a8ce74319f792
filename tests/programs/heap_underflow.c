/* Writes before the start of a block: an index that ran below zero. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static void put(volatile char *p, long at)
{
    p[at] = 'x';
}

/* Cuts blanks off the end of a text, and does not stop at its start. */
__attribute__((noinline)) static void chomp(char *text, long length)
{
    while (length > 0 && text[length - 1] == ' ')
        length--;
    put(text, length - 1);
}

__attribute__((noinline)) static void cut(const char *text)
{
    char *copy = malloc(8); /* EXPECT heap-underflow */
    strcpy(copy, text);
    chomp(copy, (long)strlen(text));
    free(copy);
}

__attribute__((noinline)) static void farther(void)
{
    char *first = malloc(1000); /* EXPECT heap-underflow */
    put(first, -12);
    free(first);
    char *large = malloc(200000); /* EXPECT heap-underflow */
    put(large, -3);
    free(large);
}

__attribute__((noinline)) static void resized(void)
{
    char *p = malloc(10); /* EXPECT heap-underflow */
    put(p, -8);
    p = realloc(p, 20);
    free(p);
}

int main(void)
{
    cut("word  ");
    cut("");
    farther();
    resized();
    puts("done");
    return 0;
}
