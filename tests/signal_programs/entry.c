#include "common.h"

/* What the ABI promises to a function: rsp % 16 == 8, direction flag clear; and the red zone stays as it was. */
extern void handler(int);
__asm__("handler: mov %rsp, entry_sp(%rip)\n pushfq\n pop entry_flags(%rip)\n movl %edi, entry_number(%rip)\n ret");
uint64_t entry_sp, entry_flags;
int entry_number;
int main(void)
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    uint64_t red, pid = getpid(), result;
    __asm__ volatile("std\n movq $0x1234567, -120(%%rsp)\n mov $39, %%eax\n mov $62, %%eax\n mov %2, %%rdi\n"
                     "mov $10, %%esi\n syscall\n mov -120(%%rsp), %0\n pushfq\n pop %1\n cld"
                     : "=&r"(red), "=&r"(result) : "r"(pid) : "rax", "rcx", "r11", "rdi", "rsi", "memory");
    printf("%d %d %d %lx %d\n", entry_number, (int)(entry_sp & 15), (int)(entry_flags >> 10 & 1), red,
           (int)(result >> 10 & 1));
    return 0;
}
