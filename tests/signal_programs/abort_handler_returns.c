#include "common.h"

int main(void) { on(SIGABRT, says, 0); setvbuf(stdout, NULL, _IONBF, 0); abort(); }
