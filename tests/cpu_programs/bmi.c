/* BMI1, BMI2, LZCNT, POPCNT, MOVBE and ADX: their results, and the flags that compilers look at. */
#include <stdint.h>
#include <stdio.h>

static const uint64_t values[] = {
    0, 1, 2, 3, 0x80, 0x80000000, 0xffffffff, 0x100000000, 0x123456789abcdef0, 0x00f0f0f000000000, 1ull << 63, ~0ull,
};
#define COUNT (sizeof values / sizeof *values)
enum { C = 1, Z = 0x40, S = 0x80, O = 0x800 };

#define EACH(name, mask, code, ...)                                                                       \
    for (unsigned i = 0; i < COUNT; i++)                                                                  \
        for (unsigned j = 0; j < COUNT; j++) {                                                            \
            uint64_t a = values[i], b = values[j], r = 0x5555, flags;                                     \
            __asm__ volatile(code "\n\tpushf\n\tpop %1" : "+r"(r), "=&r"(flags) : "r"(a), "r"(b) : "cc", "rdx"); \
            printf(name " %lx %lx: %lx %lx\n", a, b, r, flags & (mask));                                  \
        }

int main(void) {
    EACH("andn", C | Z | S | O, "andn %3, %2, %0")
    EACH("andn32", C | Z | S | O, "andn %k3, %k2, %k0")
    EACH("bextr", Z, "bextr %3, %2, %0")
    EACH("blsi", Z | S | O, "blsi %2, %0")
    EACH("blsi32", Z | S | O, "blsi %k2, %k0")
    EACH("blsr", C | Z | S | O, "blsr %2, %0")
    EACH("blsmsk", C | S | O, "blsmsk %2, %0")
    EACH("bzhi", Z | S | O, "bzhi %3, %2, %0")
    EACH("bzhi32", Z | S | O, "bzhi %k3, %k2, %k0")
    EACH("pdep", 0, "pdep %3, %2, %0")
    EACH("pext", 0, "pext %3, %2, %0")
    EACH("pext32", 0, "pext %k3, %k2, %k0")
    EACH("mulx", 0, "mov %2, %%rdx\n\tmulx %3, %%rdx, %0\n\txor %%rdx, %0")
    EACH("rorx", 0, "rorx $13, %2, %0")
    EACH("sarx", 0, "sarx %3, %2, %0")
    EACH("shlx", 0, "shlx %3, %2, %0")
    EACH("shrx32", 0, "shrx %k3, %k2, %k0")
    EACH("tzcnt", C | Z, "tzcnt %2, %0")
    EACH("tzcnt16", C | Z, "tzcnt %w2, %w0")
    EACH("lzcnt", C | Z, "lzcnt %2, %0")
    EACH("lzcnt32", C | Z, "lzcnt %k2, %k0")
    EACH("popcnt", C | Z | S | O, "popcnt %2, %0")
    EACH("adcx", C, "stc\n\tadcx %2, %0")
    EACH("adox", O, "test %0, %0\n\tadox %2, %0")
    EACH("crc32", 0, "crc32q %2, %0")
    EACH("xadd", C | Z | S | O, "mov %2, %%rdx\n\txadd %%rdx, %0")
    return 0;
}
