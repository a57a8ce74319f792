/* One call of malloc from each shape of stack that a compiler makes; the size says which. Each block stays reachable.
 *
 * The sizes start at 401, or at 7001 when there is an argument. Every shape is taken three times from one place.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define APART __attribute__((noinline, noclone))
#define LAST __asm__ volatile("" ::: "memory") /* behind a call: so it is not the last thing, and no jump */

void *volatile kept[200];
static int count;
static size_t base = 400;

static APART void take(int shape)
{
    kept[count++] = malloc(base + shape);
    LAST;
}

/* ---- frames */

static APART void plain_inner(void) { take(1); LAST; }
static APART void plain(void) { plain_inner(); LAST; }

static APART void with_alloca(int n)
{
    char *p = alloca(n);
    memset(p, n, n);
    take(2);
    __asm__ volatile("" ::"r"(p) : "memory");
}

static APART void with_vla(int n)
{
    volatile char p[n];
    p[n - 1] = 1;
    take(3);
    p[0] = 2;
}

static volatile int touch_number;
static APART void touch(volatile char *p) { p[0]++; }

static APART void realigned(void)
{
    __attribute__((aligned(64))) volatile char p[64];
    touch(p);
    take(4);
    touch(p);
}

static APART void realigned_with_alloca(int n)
{
    __attribute__((aligned(128))) volatile char p[128];
    volatile char *q = alloca(n);
    touch(p);
    touch(q);
    take(5);
    touch(q);
    touch(p);
}

static APART int realigned_varargs(int n, ...)
{
    __attribute__((aligned(32))) volatile char p[32];
    va_list list;
    va_start(list, n);
    int sum = va_arg(list, int);
    va_end(list);
    touch(p);
    take(6);
    touch(p);
    return sum;
}

static APART int recursive(int depth)
{
    __attribute__((aligned(64))) volatile char p[64];
    touch(p);
    if (depth)
        return recursive(depth - 1) + p[0];
    take(7);
    return p[0];
}

static APART int deep(int depth)
{
    volatile int here = depth;
    if (depth)
        return deep(depth - 1) + here;
    take(8);
    return here;
}

static APART void big_frame(void)
{
    volatile char p[20000];
    touch(p);
    take(9);
    touch(p);
}

static APART long many_registers(long a, long b, long c, long d, long e, long f)
{
    long g = a * b, h = c * d, i = e * f, j = a ^ f, k = b ^ e;
    take(10);
    __asm__ volatile("" : "+r"(g), "+r"(h), "+r"(i), "+r"(j), "+r"(k)::"memory");
    return g + h + i + j + k;
}

static APART int give(int shape) { take(shape); return shape; }

static APART int ten(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j)
{
    return a + b + c + d + e + f + g + h + i + give(j);
}

static APART int pushed_arguments(int n) { return ten(n, 2, 3, 4, 5, 6, n, 8, give(11), 12) + 1; }

struct large { long words[20]; };

static APART struct large returned_in_memory(long n)
{
    struct large l = {{n}};
    take(13);
    l.words[19] = n;
    return l;
}

static APART int seldom(int n)
{
    if (n < 0)
        return 0;
    volatile char p[200];
    touch(p);
    take(14);
    return p[0] + n;
}

/* ---- calls of other kinds */

static inline __attribute__((always_inline)) void inlined_inner(void) { kept[count++] = malloc(base + 15); LAST; }
static inline __attribute__((always_inline)) void inlined(void) { inlined_inner(); LAST; }
static APART void holds_inlined(void) { inlined(); LAST; }

static void (*volatile pointer)(int) = take;
static APART void through_pointer(void) { pointer(16); LAST; }

static APART int compare(const void *a, const void *b)
{
    static int seen;
    if (seen++ % 3 == 0)
        take(17);
    return *(const int *)a - *(const int *)b;
}

static APART void from_library(void)
{
    int numbers[] = {3, 1, 2};
    qsort(numbers, 3, sizeof *numbers, compare);
    LAST;
}

static APART void *in_thread(void *argument) { take(18); LAST; return argument; }

static APART void new_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);
}

static APART void on_signal(int number) { take(19); touch_number = number; }
static APART void interrupted(void) { raise(SIGUSR1); LAST; }

static APART void at_exit(void) { take(20); LAST; }
static __attribute__((constructor)) void before_main(void) { take(21); LAST; }

/* CFA in rbx: a rule that is neither of rsp nor of rbp. */
void call_with_rbx(void (*function)(void));
__asm__(".text\n.globl call_with_rbx\n.type call_with_rbx, @function\ncall_with_rbx:\n.cfi_startproc\n"
        "pushq %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_offset rbx, -16\n"
        "movq %rsp, %rbx\n.cfi_def_cfa_register rbx\nandq $-64, %rsp\ncall *%rdi\n"
        "movq %rbx, %rsp\n.cfi_def_cfa_register rsp\npopq %rbx\n.cfi_adjust_cfa_offset -8\n.cfi_restore rbx\nret\n"
        ".cfi_endproc\n.size call_with_rbx, .-call_with_rbx\n");
static APART void called_with_rbx(void) { take(22); LAST; }
static APART void through_rbx(void) { call_with_rbx(called_with_rbx); LAST; }

/* rbp saved where only an expression says, and clobbered: DW_CFA_val_expression and the like are left to test_cfi. */
void call_without_rbp(void (*function)(void));
__asm__(".text\n.globl call_without_rbp\n.type call_without_rbp, @function\ncall_without_rbp:\n.cfi_startproc\n"
        "pushq %rbp\n.cfi_adjust_cfa_offset 8\n.cfi_offset rbp, -16\n"
        "movl $7, %ebp\ncall *%rdi\npopq %rbp\n.cfi_adjust_cfa_offset -8\n.cfi_restore rbp\nret\n"
        ".cfi_endproc\n.size call_without_rbp, .-call_without_rbp\n");
static APART void called_without_rbp(void) { take(23); LAST; }
static APART void through_clobbered_rbp(void) { call_without_rbp(called_without_rbp); LAST; }

/* ---- the last thing a function does: with optimisation a jump */

static APART void *tail(size_t size) { return malloc(size); }
static APART void ends_in_tail(void) { kept[count++] = tail(base + 24); LAST; }

static APART void *tail_of_tail(size_t size) { return tail(size); }
static APART void ends_in_two_tails(void) { kept[count++] = tail_of_tail(base + 25); LAST; }

static APART void tail_into_frame(int shape) { take(shape); }
static APART void ends_in_frame(void) { tail_into_frame(26); LAST; }

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    base = argc > 1 ? 7000 : 400;
    sigaction(SIGUSR1, &action, NULL);
    atexit(at_exit);
    for (int round = 0; round < 3; round++) {
        plain();
        with_alloca(100 + argc);
        with_vla(50 + argc);
        realigned();
        realigned_with_alloca(30 + argc);
        realigned_varargs(argc, 1, 2);
        recursive(20);
        deep(300);
        big_frame();
        many_registers(argc, 2, 3, 4, 5, 6);
        pushed_arguments(argc);
        returned_in_memory(argc);
        seldom(argc);
        holds_inlined();
        through_pointer();
        from_library();
        new_thread();
        interrupted();
        through_rbx();
        through_clobbered_rbp();
        ends_in_tail();
        ends_in_two_tails();
        ends_in_frame();
    }
    return 0;
}
