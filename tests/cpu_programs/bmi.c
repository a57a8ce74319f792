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
            __asm__ volatile(code "\n\tpushf\n\tpop %1" : "+r"(r), "=&r"(flags) , "+r"(b) : "r"(a) : "cc", "rdx"); \
            printf(name " %lx %lx: %lx %lx\n", a, b, r, flags & (mask));                                  \
        }

int main(void) {
    EACH("andn", C | Z | S | O, "andn %2, %3, %0")
    EACH("andn32", C | Z | S | O, "andn %k2, %k3, %k0")
    EACH("bextr", Z, "bextr %2, %3, %0")
    EACH("blsi", Z | S | O, "blsi %3, %0")
    EACH("blsi32", Z | S | O, "blsi %k3, %k0")
    EACH("blsr", C | Z | S | O, "blsr %3, %0")
    EACH("blsmsk", C | S | O, "blsmsk %3, %0")
    EACH("bzhi", Z | S | O, "and $63, %2\n\tbzhi %2, %3, %0")
    EACH("bzhi32", Z | S | O, "and $31, %2\n\tbzhi %k2, %k3, %k0")
    EACH("pdep", 0, "pdep %2, %3, %0")
    EACH("pext", 0, "pext %2, %3, %0")
    EACH("pext32", 0, "pext %k2, %k3, %k0")
    EACH("mulx", 0, "mov %3, %%rdx\n\tmulx %2, %%rdx, %0\n\txor %%rdx, %0")
    EACH("rorx", 0, "rorx $13, %3, %0")
    EACH("sarx", 0, "sarx %2, %3, %0")
    EACH("shlx", 0, "shlx %2, %3, %0")
    EACH("shrx32", 0, "shrx %k2, %k3, %k0")
    EACH("tzcnt", C | Z, "tzcnt %3, %0")
    EACH("tzcnt16", C | Z, "tzcnt %w3, %w0")
    EACH("lzcnt", C | Z, "lzcnt %3, %0")
    EACH("lzcnt32", C | Z, "lzcnt %k3, %k0")
    EACH("popcnt", C | Z | S | O, "popcnt %3, %0")
    EACH("adcx", C, "stc\n\tadcx %3, %0")
    EACH("adox", O, "test %0, %0\n\tadox %3, %0")
    EACH("crc32", 0, "crc32q %3, %0")
    EACH("xadd", C | Z | S | O, "mov %3, %%rdx\n\txadd %%rdx, %0")
    return 0;
}
