/* Stacks that lie: on other memory than the thread's, without rules, with a frame pointer that points nowhere. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

void *volatile kept[40];
static int count;

__attribute__((noinline)) static void take(size_t size) { kept[count++] = malloc(size); __asm__ volatile("" ::: "memory"); }

static ucontext_t caller, coroutine;
static size_t wanted;
static void on_other_stack(void) { take(wanted); take(wanted); __asm__ volatile("" ::: "memory"); }

static void switch_to(void *memory, size_t size, size_t ask)
{
    wanted = ask;
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = memory;
    coroutine.uc_stack.ss_size = size;
    coroutine.uc_link = &caller;
    makecontext(&coroutine, on_other_stack, 0);
    swapcontext(&caller, &coroutine);
}

/* No call-frame information at all, and rbp as it likes. */
void with_rbp(void (*function)(size_t), size_t size, uintptr_t rbp);
__asm__(".text\n.globl with_rbp\n.type with_rbp, @function\nwith_rbp:\n"
        "pushq %rbp\nsubq $16, %rsp\nmovq %rdi, %rax\nmovq %rsi, %rdi\nmovq %rdx, %rbp\ncall *%rax\n"
        "addq $16, %rsp\npopq %rbp\nret\n.size with_rbp, .-with_rbp\n");

int main(void)
{
    static char fixed[65536] __attribute__((aligned(16)));
    uintptr_t loop[2] = {0, (uintptr_t)&main + 4};
    switch_to(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 65536, 501);
    switch_to(malloc(65536), 65536, 502);
    switch_to(fixed, sizeof fixed, 503);
    loop[0] = (uintptr_t)loop;
    for (int round = 0; round < 2; round++) {
        with_rbp(take, 504, 0);
        with_rbp(take, 505, 8);
        with_rbp(take, 506, UINTPTR_MAX - 7);
        with_rbp(take, 507, (uintptr_t)loop);
        with_rbp(take, 508, (uintptr_t)fixed);
        with_rbp(take, 509, (uintptr_t)&loop | 1);
        with_rbp(take, 510, 0x7ffffffff000UL - 8);
        with_rbp(take, 511, 0x800000000000UL - 16);
    }
    puts("done");
    return 0;
}
