#include "common.h"

int main(void) { ((char *)NULL)[0x123] = 1; }
