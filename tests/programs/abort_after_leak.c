/* abort() after a leak: the report comes all the same. */
/* SIGNAL SIGABRT */
#include <stdio.h>
#include <stdlib.h>

static char *log_buffer;

__attribute__((noinline)) static int forget(int n)
{
    int *squares = malloc(n * sizeof *squares); /* EXPECT leak definitely-lost bytes=400 blocks=1 */
    for (int i = 0; i < n; i++)
        squares[i] = i * i;
    return squares[n - 1];
}

int main(void)
{
    log_buffer = malloc(1024); /* EXPECT leak still-reachable bytes=1024 blocks=1 */
    sprintf(log_buffer, "last square %d", forget(100));
    printf("%s\n", log_buffer);
    fflush(stdout);
    if (log_buffer[0] == 'l')
        abort();
    return 0;
}
