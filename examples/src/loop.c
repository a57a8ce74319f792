/* A leak in a loop: every turn forgets the buffer of the turn before; only the last is freed. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    char *line = NULL;

    for (int number = 1; number <= 10; number++) {
        line = malloc(80);
        snprintf(line, 80, "line %d", number);
    }
    puts(line);
    free(line);
    return 0;
}
