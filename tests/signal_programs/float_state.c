#include "common.h"

static void handler(int number, siginfo_t *info, void *context)
{
    long double a = 7.0L;
    __asm__ volatile("fldz\n fldpi\n pxor %%xmm0, %%xmm0\n pxor %%xmm15, %%xmm15" ::: "xmm0", "xmm15");
    unsigned control = 0x5f80;
    __asm__ volatile("ldmxcsr %0" :: "m"(control));
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}
int main(void)
{
    long double x;
    double a = 1.25, b;
    unsigned control;
    on(SIGILL, handler, 0);
    __asm__ volatile("fldl %3\n fld1\n movsd %3, %%xmm15\n ud2\n faddp\n fstpt %0\n movsd %%xmm15, %1\n stmxcsr %2"
                     : "=m"(x), "=m"(b), "=m"(control) : "m"(a) : "xmm15", "st", "st(1)");
    printf("%Lf %f %x\n", x, b, control & ~0x3f);
    long double third = 1.0L / 3;
    volatile long rounded = (long)(third * 10);
    printf("%.20Lf %ld\n", third * (rounded + 0.1L), rounded);
    return 0;
}
