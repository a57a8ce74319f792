/* getline allocates for the reader, who must free even when the input has ended. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One buffer for all lines, never released. strtok remembers where it stopped, which is inside the buffer. */
__attribute__((noinline)) static int count_words(void)
{
    char *line = NULL;
    size_t room = 0;
    int words = 0;
    while (getline(&line, &room, stdin) > 0) { /* EXPECT leak possibly-lost bytes=120 blocks=1 */
        for (char *word = strtok(line, " \t\n"); word; word = strtok(NULL, " \t\n"))
            words++;
    }
    return words;
}

int main(void)
{
    printf("%d words\n", count_words());
    return 0;
}
