#include "common.h"

static char stack[65536];
static stack_t now;
static void state(const char *when)
{
    sigaltstack(NULL, &now);
    printf("%s: %d %d %zu\n", when, now.ss_flags, now.ss_sp == stack, now.ss_size);
}
static void handler(int number, siginfo_t *info, void *context)
{
    char here;
    printf("%d on it %d ", number, &here >= stack && &here < stack + sizeof stack);
    state("inside");
    printf("%s\n", err(sigaltstack(&now, NULL)));
    if (number == SIGUSR1) raise(SIGUSR2);
}
int main(void)
{
    state("before");
    stack_t wanted = {.ss_sp = stack, .ss_size = 100};
    printf("%s\n", err(sigaltstack(&wanted, NULL)));
    wanted.ss_flags = 77;
    printf("%s\n", err(sigaltstack(&wanted, NULL)));
    wanted = (stack_t){.ss_sp = stack, .ss_size = sizeof stack};
    printf("%s\n", err(sigaltstack(&wanted, NULL)));
    state("set");
    on(SIGUSR1, handler, SA_ONSTACK);
    on(SIGUSR2, handler, SA_ONSTACK);
    on(SIGHUP, handler, 0);
    raise(SIGUSR1);
    raise(SIGHUP);
    wanted.ss_flags = SS_DISABLE;
    sigaltstack(&wanted, NULL);
    state("disabled");
    wanted.ss_flags = 1u << 31;
    printf("%s\n", err(sigaltstack(&wanted, NULL)));
    raise(SIGUSR2);
    state("after");
    return 0;
}
