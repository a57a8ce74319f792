/* Every way to call realloc that is right: nothing is lost. realloc(p, 0) is left to a program of its own. */
/* CLEAN */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *p = realloc(NULL, 16);
    strcpy(p, "fifteen letters");

    p = realloc(p, 4096);
    printf("grown:    %s\n", p);
    memset(p + 16, 'x', 4080);

    p = realloc(p, 8);
    p[7] = '\0';
    printf("shrunk:   %s\n", p);

    p = realloc(p, 8);
    printf("same:     %s\n", p);

    char *other = malloc(100); /* stands in the way */
    p = realloc(p, 100000);
    printf("moved:    %s\n", p);

    errno = 0;
    volatile size_t huge = SIZE_MAX / 2;
    char *q = realloc(p, huge);
    printf("too much: %s, errno %d, still %s\n", q ? "granted" : "refused", errno, p);

    for (int n = 1; n <= 4096; n *= 2) {
        p = realloc(p, n);
        p[n - 1] = 'z';
    }
    free(other);
    free(p);
    return 0;
}
