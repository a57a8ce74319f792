#include "common.h"

static void steps(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    if (++count == 1) printf("code %d\n", info->si_code);
    if (count == 5) uc->uc_mcontext.gregs[REG_EFL] &= ~0x100;
}
int main(void)
{
    on(SIGTRAP, steps, 0);
    __asm__ volatile("pushfq\n orl $0x100, (%%rsp)\n popfq\n nop\n nop\n nop\n nop\n nop\n nop\n nop" ::: "memory", "cc");
    printf("%d\n", (int)count);
    return 0;
}
