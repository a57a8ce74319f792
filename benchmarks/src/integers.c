/* Integer arithmetic in registers: no memory, no allocator. */
#include <stdint.h>
#include <stdio.h>

int main(void)
{
    uint64_t state = 88172645463325252u, sum = 0;

    for (uint32_t turn = 0; turn < 100000000u; turn++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        sum += state % 1000;
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
