#include "common.h"

static char *page;
static void opens(int number, siginfo_t *info, void *context)
{
    printf("opening %d\n", (int)((char *)info->si_addr - page));
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}
static void skips(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    regs[REG_RIP] += 2;
    regs[REG_RBX] = 0x1122334455667788;
    ((ucontext_t *)context)->uc_mcontext.fpregs->_xmm[5].element[0] = 77;
}
static void divides(int number, siginfo_t *info, void *context)
{
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RCX] = 4;
}
int main(void)
{
    uint64_t rbx;
    uint32_t xmm;
    int quotient;
    on(SIGSEGV, opens, 0);
    on(SIGILL, skips, 0);
    on(SIGFPE, divides, 0);
    on(SIGTRAP, counts, 0);
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[5] = 'x';
    printf("%c\n", page[5]);
    __asm__ volatile("ud2\n mov %%rbx, %0\n movd %%xmm5, %1" : "=r"(rbx), "=r"(xmm) :: "rbx", "xmm5");
    printf("%lx %u\n", rbx, xmm);
    __asm__ volatile("mov $20, %%eax\n cltd\n xor %%ecx, %%ecx\n idiv %%ecx" : "=a"(quotient) :: "rcx", "rdx", "cc");
    printf("%d\n", quotient);
    __asm__ volatile("int3");
    printf("%d\n", (int)count);
    return 0;
}
