#include "common.h"

static sigjmp_buf back;
static char *page;
static void handler(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    const char *where = info->si_addr == page + 123 ? "page" : info->si_addr == (void *)regs[REG_RIP] ? "rip" : "";
    printf("%d code %d %s %lx trap %lld error %llx\n", number, info->si_code, where,
           *where ? 0 : (unsigned long)info->si_addr, regs[REG_TRAPNO], regs[REG_ERR]);
    siglongjmp(back, 1);
}
#define TRY(code) do { if (!sigsetjmp(back, 1)) { code; } } while (0)
int main(void)
{
    int zero = getpid() < 0;
    for (int number = 1; number < 32; number++)
        if (number != SIGKILL && number != SIGSTOP) on(number, handler, 0);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 1;
    mprotect(page, 4096, PROT_READ);
    TRY(*(volatile char *)16 = 1);
    TRY(*(volatile long *)0x1235 = 1);
    TRY(printf("%d", *(volatile short *)0x77));
    TRY(page[123] = 1);
    munmap(page, 4096);
    TRY(printf("%d", ((volatile char *)page)[123]));
    TRY(((void (*)(void))0x50)());
    TRY(*(volatile int *)0x8000000000000010ul = 1);
    TRY(__asm__ volatile("ud2"));
    TRY(__asm__ volatile("hlt"));
    TRY(__asm__ volatile("int3"));
    TRY(printf("%d", 5 / zero));
    TRY(memset((void *)0x4444, 1, 100));
    TRY(__asm__ volatile("mov $0x5550, %%rdi\n mov $9, %%ecx\n rep stosb" ::: "rdi", "rcx", "memory"));
    TRY(__asm__ volatile("mov $0x1ffc, %%rax\n mov %%rax, 4(%%rax,%%rax,2)" ::: "rax", "memory"));
    TRY(__asm__ volatile("pushq 0x6660"));
    puts("end");
    return 0;
}
