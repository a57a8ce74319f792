/* What is said through valgrind, and other requests of its core. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/memcheck.h>

static long twice(long thread, long a) { return thread * 10 + 2 * a; }
static long sum(long thread, long a, long b, long c) { return ((thread * 10 + a) * 10 + b) * 10 + c; }

int main(void) {
    static char place[64];
    int written = VALGRIND_PRINTF("number %d, text %s|%-8s|%8s|, %x %5d|%-5d|%c%%\nhalf ", -3, "abc", "left", "right", 255, 7, 7, 'z');
    printf("%d\n", written);
    printf("%d\n", (int)VALGRIND_PRINTF("a line\n"));
    VALGRIND_PRINTF_BACKTRACE("from here\n");
    printf("on valgrind: %u\n", (unsigned)RUNNING_ON_VALGRIND);
    printf("%ld %ld\n", (long)VALGRIND_NON_SIMD_CALL3(sum, 2, 3, 4), (long)VALGRIND_NON_SIMD_CALL1(twice, 5));
    int stacks[2];
    char stack[256];
    stacks[0] = VALGRIND_STACK_REGISTER(stack, stack + 127);
    stacks[1] = VALGRIND_STACK_REGISTER(stack + 128, stack + 255);
    VALGRIND_STACK_CHANGE(stacks[0], stack, stack + 100);
    printf("stacks: one is the other's successor: %d\n", stacks[1] - stacks[0]);
    VALGRIND_STACK_DEREGISTER(stacks[0]);
    VALGRIND_STACK_DEREGISTER(stacks[1]);
    printf("%d %d\n", (int)VALGRIND_MAKE_MEM_DEFINED(stack, 10), (int)VALGRIND_MAKE_MEM_NOACCESS(stack, 10));
    VALGRIND_MAKE_MEM_UNDEFINED(stack, 10);
    printf("%d\n", (int)VALGRIND_CHECK_MEM_IS_DEFINED(stacks, sizeof stacks));
    VALGRIND_MAP_IP_TO_SRCLOC(sum, place);
    puts(place);
    /* A request that nobody knows is answered as the program wished. */
    printf("%lu\n", (unsigned long)VALGRIND_DO_CLIENT_REQUEST_EXPR(42, 0x5A5A0001, 1, 2, 3, 4, 5));
    VALGRIND_DISCARD_TRANSLATIONS(stack, 10);
    return 0;
}
