/* A structure that owns other blocks: losing the structure loses them all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct employee {
    char *name;
    char *role;
    int *grades;
    int count;
};

__attribute__((noinline)) static char *copy(const char *text)
{
    char *result = malloc(strlen(text) + 1); /* EXPECT leak indirectly-lost bytes=23 blocks=2 */
    return strcpy(result, text);
}

__attribute__((noinline)) static struct employee *hire(const char *name, const char *role, int count)
{
    struct employee *e = malloc(sizeof *e); /* EXPECT leak definitely-lost bytes=32 blocks=1 */
    e->name = copy(name);
    e->role = copy(role);
    e->grades = calloc(count, sizeof *e->grades); /* EXPECT leak indirectly-lost bytes=20 blocks=1 */
    e->count = count;
    return e;
}

__attribute__((noinline)) static void fire(struct employee *e)
{
    free(e->grades);
    free(e->role);
    free(e->name);
    free(e);
}

__attribute__((noinline)) static void business(void)
{
    struct employee *first = hire("Ada Lovelace", "programmer", 4);
    struct employee *second = hire("Grace Hopper", "rear adm.", 5);
    printf("%s, %s\n", first->name, second->role);
    fire(first);
}

int main(void)
{
    business();
    return 0;
}
