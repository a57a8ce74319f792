/* Alignments that are none: no power of two, or too small for posix_memalign. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

static volatile size_t three = 3, four = 4, none = 0, sixty = 60;

int main(void)
{
    void *p = NULL;
    int status = posix_memalign(&p, three, 100); /* EXPECT invalid-alignment */ /* VALGRIND differs: it does not look */
    printf("%d %d\n", status == EINVAL, p == NULL);
    status = posix_memalign(&p, four, 100); /* EXPECT invalid-alignment */ /* VALGRIND differs: it does not look */
    printf("%d %d\n", status == EINVAL, p == NULL);
    p = memalign(sixty, 100); /* EXPECT invalid-alignment */ /* VALGRIND differs: it does not look */
    printf("%s\n", p ? "block" : "null");
    free(p);
    status = posix_memalign(&p, 64, 100);
    printf("%d %s\n", status, p ? "block" : "null");
    free(p);
    p = memalign(16, none);
    free(p);
    return 0;
}
