/* Two stacks of the program's own in one mapping: with a thread on the upper, the lower one is still alive. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <valgrind/valgrind.h>

static ucontext_t back, routines[2];
static char *stacks;

static void waits(void) {
    void *volatile block = malloc(111);
    swapcontext(&routines[0], &back);
    free(block);
}

static void ends(void) {
    void *volatile block = malloc(222);
    (void)block;
    exit(0);
}

int main(void) {
    stacks = mmap(NULL, 2 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 2; i++) {
        VALGRIND_STACK_REGISTER(stacks + (i << 16), stacks + (i << 16) + 65535);
        getcontext(&routines[i]);
        routines[i].uc_stack.ss_sp = stacks + (i << 16);
        routines[i].uc_stack.ss_size = 1 << 16;
        routines[i].uc_link = &back;
        makecontext(&routines[i], i ? ends : waits, 0);
        swapcontext(&back, &routines[i]);
    }
    return 0;
}
