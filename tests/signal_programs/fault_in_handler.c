#include "common.h"

static void handler(int number, siginfo_t *info, void *context)
{ puts("once"); fflush(stdout); *(volatile int *)8 = 1; }
int main(void) { on(SIGSEGV, handler, 0); *(volatile int *)4 = 1; return 0; }
