/* Writes a file, reads it back by lines, renames and removes it; every stream is closed. */
/* CLEAN */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    FILE *out = fopen("scratch.txt", "w");
    if (!out)
        return 1;
    for (int i = 0; i < 300; i++)
        fprintf(out, "%d,%d,%s\n", i, i * i, i % 2 ? "odd" : "even");
    fclose(out);
    if (rename("scratch.txt", "renamed.txt") != 0)
        return 2;

    FILE *in = fopen("renamed.txt", "r");
    char *line = NULL;
    size_t room = 0;
    long sum = 0;
    int odd = 0;
    while (getline(&line, &room, in) > 0) {
        char *square = strchr(line, ',') + 1;
        sum += strtol(square, NULL, 10);
        odd += strstr(line, "odd") != NULL;
    }
    long size = ftell(in);
    free(line);
    fclose(in);
    printf("%ld bytes, sum %ld, %d odd\n", size, sum, odd);
    return unlink("renamed.txt");
}
