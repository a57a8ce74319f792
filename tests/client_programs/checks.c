/* Leak checks while the program runs. */
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/memcheck.h>

static void **reachable;

static void tell(void) {
    unsigned long leaked, dubious, known, suppressed;
    VALGRIND_COUNT_LEAKS(leaked, dubious, known, suppressed);
    printf("bytes: %lu %lu %lu %lu\n", leaked, dubious, known, suppressed);
    VALGRIND_COUNT_LEAK_BLOCKS(leaked, dubious, known, suppressed);
    printf("blocks: %lu %lu %lu %lu\n", leaked, dubious, known, suppressed);
}

static void lose(size_t size) {
    void **volatile block = malloc(size);
    *block = malloc(11);
    block = NULL;
}

int main(void) {
    reachable = malloc(1000);
    *reachable = NULL;
    reachable = (void **)((char *)reachable + 16);
    tell();
    VALGRIND_DO_LEAK_CHECK;
    tell();
    lose(100);
    VALGRIND_DO_ADDED_LEAK_CHECK;
    tell();
    lose(101);
    VALGRIND_DO_QUICK_LEAK_CHECK;
    tell();
    reachable = (void **)((char *)reachable - 16);
    VALGRIND_DO_CHANGED_LEAK_CHECK;
    tell();
    printf("goes on\n");
    free(reachable);
    return 0;
}
