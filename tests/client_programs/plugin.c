/* A library that is loaded while the program runs: it speaks to valgrind, and to LeakSanitizer if that is there. */
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/valgrind.h>

void __lsan_ignore_object(const void *) __attribute__((weak));
static char arena[1024];

void run(void) {
    VALGRIND_MALLOCLIKE_BLOCK(arena, 123, 0, 0);
    void *volatile block = malloc(321);
    printf("%d\n", __lsan_ignore_object != NULL);
    if (__lsan_ignore_object)
        __lsan_ignore_object(block);
    block = NULL;
}
