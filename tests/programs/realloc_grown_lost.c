/* A line reader that doubles its buffer; the last size is what is lost, at the realloc that made it. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static char *read_line(FILE *in)
{
    size_t size = 8, used = 0;
    char *line = malloc(size); /* EXPECT leak definitely-lost bytes=8 blocks=1 */
    int c;
    while ((c = getc(in)) != EOF && c != '\n') {
        if (used + 1 == size) {
            size *= 2;
            line = realloc(line, size); /* EXPECT leak definitely-lost bytes=96 blocks=2 */
        }
        line[used++] = (char)c;
    }
    if (c == EOF && used == 0) {
        free(line);
        return NULL;
    }
    line[used] = '\0';
    return line;
}

__attribute__((noinline)) static int count(void)
{
    char *line;
    int lines = 0;
    while ((line = read_line(stdin)) != NULL)
        printf("%d: %s\n", ++lines, line);
    return lines;
}

int main(void)
{
    printf("%d lines\n", count());
    return 0;
}
