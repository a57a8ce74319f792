#include "common.h"

static char stack[65536];
static sigjmp_buf back;
static void handler(int number, siginfo_t *info, void *context) { siglongjmp(back, number); }
static int deep(int n) { volatile char room[4000]; room[n % 4000] = n; return deep(n + 1) + room[0]; }
int main(void)
{
    stack_t wanted = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&wanted, NULL);
    on(SIGSEGV, handler, SA_ONSTACK);
    for (int i = 0; i < 2; i++) {
        int number = sigsetjmp(back, 1);
        if (!number) deep(0);
        printf("%d\n", number);
    }
    return 0;
}
