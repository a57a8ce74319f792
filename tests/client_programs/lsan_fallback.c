/* The same interface with empty functions of the program's own, for when there is no LeakSanitizer. */
#include <stdlib.h>
#define NOINLINE __attribute__((noinline))

NOINLINE void __lsan_disable(void) { __asm__ volatile(""); }
NOINLINE void __lsan_enable(void) { __asm__ volatile(""); }

NOINLINE static void lose(size_t size) {
    void *volatile block = malloc(size);
    block = NULL;
}

int main(void) {
    __lsan_disable();
    lose(10);
    __lsan_enable();
    lose(20);
    return 0;
}
