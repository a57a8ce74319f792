/* Sizes that no allocator can serve: refused, the old block stays as it was, and each is counted or not. Those that are
   negative numbers, or products that do not fit, are mistakes. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static volatile size_t most = SIZE_MAX;
static volatile size_t half = SIZE_MAX / 4;

static void show(const char *what, const void *p)
{
    printf("%s: %s, errno %d\n", what, p ? "block" : "null", errno);
    errno = 0;
}

int main(void)
{
    char *kept = malloc(10);
    kept[0] = 'k';
    show("malloc(-1)", malloc(most)); /* EXPECT invalid-size */
    show("malloc(half)", malloc(half));
    show("realloc(NULL, -1)", realloc(NULL, most)); /* EXPECT invalid-size */
    show("realloc(NULL, half)", realloc(NULL, half));
    show("realloc(p, -1)", realloc(kept, most)); /* EXPECT invalid-size */
    show("realloc(p, half)", realloc(kept, half));
    show("reallocarray(p, -1, 1)", reallocarray(kept, most, 1)); /* EXPECT invalid-size */
    show("reallocarray(p, half, 1)", reallocarray(kept, half, 1));
    show("reallocarray(p, half, 16)", reallocarray(kept, half, 16)); /* EXPECT invalid-size */ /* VALGRIND differs: not its product */
    show("memalign(64, -1)", memalign(64, most)); /* EXPECT invalid-size */
    show("memalign(64, half)", memalign(64, half));
    void *target = kept;
    int status = posix_memalign(&target, 64, half);
    printf("posix_memalign: %d %d\n", status, target == kept);
    printf("%c\n", kept[0]);
    free(kept);
    return 0;
}
