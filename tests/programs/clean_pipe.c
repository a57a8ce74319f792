/* A message to itself, by way of a pipe. */
/* CLEAN */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    int ends[2];
    char *message = malloc(32);
    strcpy(message, "through a pipe");
    if (pipe(ends) != 0)
        return 1;
    if (write(ends[1], message, 15) != 15)
        return 2;
    char *answer = calloc(1, 32);
    if (read(ends[0], answer, 32) != 15)
        return 3;
    printf("%s\n", answer);
    close(ends[0]);
    close(ends[1]);
    free(answer);
    free(message);
    return 0;
}
