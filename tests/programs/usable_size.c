/* malloc_usable_size promises at least what was asked for. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static int enough(size_t size)
{
    void *p = malloc(size); /* EXPECT leak definitely-lost bytes=1000 blocks=1 */
    int good = malloc_usable_size(p) >= size;
    if (size != 1000)
        free(p);
    return good;
}

int main(void)
{
    static const size_t sizes[] = {1, 8, 23, 24, 25, 100, 1000, 5000, 200000};
    int good = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        good += enough(sizes[i]);
    printf("%d of %zu, %zu for NULL\n", good, sizeof sizes / sizeof *sizes, malloc_usable_size(NULL));
    return 0;
}
