#include "common.h"

static int deep(int n) { volatile char room[4000]; room[n % 4000] = n; return deep(n + 1) + room[0]; }
int main(void) { on(SIGSEGV, says, 0); return deep(0); }
