#include "common.h"

static void handler(int number, siginfo_t *info, void *context)
{ puts("in"); fflush(stdout); __asm__ volatile("mov $0x1000, %rsp\n mov $15, %eax\n syscall"); }
int main(void) { on(SIGUSR1, handler, 0); raise(SIGUSR1); return 0; }
