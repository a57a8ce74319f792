/* A search that finds nothing, and a caller who does not look. */
/* SIGNAL SIGSEGV */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct user {
    char name[24];
    struct user *next;
};

static struct user *users;

__attribute__((noinline)) static void add(const char *name)
{
    struct user *u = calloc(1, sizeof *u); /* EXPECT leak still-reachable bytes=64 blocks=2 */
    strncpy(u->name, name, sizeof u->name - 1);
    u->next = users;
    users = u;
}

__attribute__((noinline)) static struct user *find(const char *name)
{
    char *key = malloc(24); /* EXPECT leak definitely-lost bytes=72 blocks=3 */
    strcpy(key, name);
    for (struct user *u = users; u; u = u->next) {
        if (strcmp(u->name, key) == 0)
            return u;
    }
    return NULL;
}

__attribute__((noinline)) static char initial(struct user *u)
{
    return *(volatile char *)&u->name[0];
}

int main(void)
{
    add("ann");
    add("bob");
    printf("%c\n", initial(find("ann")));
    printf("%c\n", initial(find("bob")));
    fflush(stdout);
    printf("%c\n", initial(find("eve")));
    return 0;
}
