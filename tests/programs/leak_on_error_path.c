/* A parser that forgets its buffer when the input is wrong, and only then. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config {
    char *name;
    int port;
};

__attribute__((noinline)) static int parse_config(const char *text, struct config *out)
{
    char *copy = malloc(strlen(text) + 1); /* EXPECT leak definitely-lost bytes=27 blocks=2 */
    if (!copy)
        return -1;
    strcpy(copy, text);

    char *colon = strchr(copy, ':');
    if (!colon)
        return -1; /* forgets copy */
    *colon = '\0';

    for (char *p = colon + 1; *p; p++) {
        if (!isdigit((unsigned char)*p))
            return -1; /* forgets copy */
    }
    out->name = malloc(strlen(copy) + 1);
    strcpy(out->name, copy);
    out->port = atoi(colon + 1);
    free(copy);
    return 0;
}

int main(void)
{
    static const char *const lines[] = {"localhost:8080", "no colon here", "example:http", "mail:25"};
    struct config config;

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (parse_config(lines[i], &config) == 0) {
            printf("%s -> %d\n", config.name, config.port);
            free(config.name);
        } else {
            printf("bad line %zu\n", i + 1);
        }
    }
    return 0;
}
