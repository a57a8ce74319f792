/* Requests that cannot be granted: NULL, ENOMEM, and no block to lose. Only what is a negative number is a mistake. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) void try(const char *name, void *p)
{
    printf("%-16s %s (%s)\n", name, p ? "granted" : "refused", p ? "-" : strerror(errno));
    free(p);
}

int main(void)
{
    volatile size_t huge = SIZE_MAX - 4096;
    volatile size_t half = SIZE_MAX / 2;

    errno = 0;
    try("malloc huge", malloc(huge)); /* EXPECT invalid-size */
    errno = 0;
    try("malloc half", malloc(half));
    errno = 0;
    try("calloc half", calloc(half, 1));
    errno = 0;
    try("malloc modest", malloc(1000));
    return 0;
}
