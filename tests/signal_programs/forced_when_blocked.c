#include "common.h"

int main(void) { on(SIGSEGV, says, 0); block(SIG_BLOCK, SIGSEGV); *(volatile int *)8 = 1; return 0; }
