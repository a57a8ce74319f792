#include "common.h"

static void inner(int number, siginfo_t *info, void *context) { printf("inner %d\n", number); }
static void outer(int number, siginfo_t *info, void *context)
{
    int depth = ++count;
    printf("outer in %d\n", depth);
    raise(SIGUSR2);
    if (depth < 3) raise(SIGUSR1);
    printf("outer out %d\n", depth);
}
int main(void)
{
    on(SIGUSR1, outer, 0);
    on(SIGUSR2, inner, 0);
    raise(SIGUSR1);
    puts("then without deferring");
    count = 0;
    on(SIGUSR1, outer, SA_NODEFER);
    raise(SIGUSR1);
    return 0;
}
