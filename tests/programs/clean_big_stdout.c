/* Half a megabyte of text, with a buffer of the program's own in between. */
/* CLEAN */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *buffer = malloc(10000);
    setvbuf(stdout, buffer, _IOFBF, 10000);
    for (int i = 0; i < 8000; i++)
        printf("%05d: the quick brown fox jumps over the lazy dog %08x\n", i, (unsigned)i * 2654435761u);

    char *line = malloc(4001);
    memset(line, '=', 4000);
    line[4000] = '\0';
    for (int i = 0; i < 10; i++)
        puts(line);
    free(line);

    fflush(stdout);
    setvbuf(stdout, NULL, _IONBF, 0);
    free(buffer);
    puts("done");
    return 0;
}
