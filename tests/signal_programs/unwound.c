#include "common.h"

static char *page;
__attribute__((noinline)) static void allocates(void) { *(volatile char *)malloc(10) = 1; }
static void handler(int number, siginfo_t *info, void *context)
{ allocates(); mprotect(page, 4096, PROT_READ | PROT_WRITE); }
__attribute__((noinline)) static int leaf(char *p) { return *(volatile char *)p; }
__attribute__((noinline)) static int interrupted(char *p)
{ volatile int room[9]; room[p - page] = 1; return leaf(p) + room[1]; }
__attribute__((noinline)) static int sends(void) { raise(SIGUSR1); return page[0]; }
static char stack[65536];
int main(int argc, char **argv)
{
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alternate, NULL);
    on(SIGSEGV, handler, argc > 1 ? SA_ONSTACK : 0);
    on(SIGUSR1, handler, argc > 1 ? SA_ONSTACK : 0);
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return interrupted(page) + sends();
}
