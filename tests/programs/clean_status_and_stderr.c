/* Uses both streams and ends with a status of its own. */
/* CLEAN */
/* EXIT 42 */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    char **copy = malloc((argc + 1) * sizeof *copy);
    for (int i = 0; i <= argc; i++)
        copy[i] = argv[i];
    fprintf(stderr, "%d argument(s)\n", argc);
    printf("%s\n", copy[argc] == NULL ? "ends with NULL" : "does not end");
    free(copy);
    const char *home = getenv("SURELY_NOT_SET");
    printf("%s\n", home ? home : "unset");
    return 42;
}
