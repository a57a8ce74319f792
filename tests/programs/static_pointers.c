/* Blocks held to the end by file-local and function-local statics, in .data and in .bss. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *in_bss;
static char *in_data = (char *)1;
struct registry {
    char *names[4];
    int count;
} registry = {.count = 1};

__attribute__((noinline)) static int *counter(void)
{
    static int *value;
    if (!value)
        value = calloc(1, sizeof *value); /* EXPECT leak still-reachable bytes=4 blocks=1 */
    ++*value;
    return value;
}

__attribute__((noinline)) static void set_up(void)
{
    in_bss = malloc(11); /* EXPECT leak still-reachable bytes=11 blocks=1 */
    in_data = malloc(22); /* EXPECT leak still-reachable bytes=22 blocks=1 */
    registry.names[registry.count++] = strcpy(malloc(33), "third"); /* EXPECT leak still-reachable bytes=33 blocks=1 */
    memset(in_bss, 0, 11);
    memset(in_data, 1, 22);
}

int main(void)
{
    set_up();
    counter();
    counter();
    printf("%d %s %d %d\n", *counter(), registry.names[1], in_bss[3], in_data[3]);
    return 0;
}
