#include "common.h"

int main(void)
{
    int ends[2];
    pipe(ends);
    close(ends[0]);
    on(SIGPIPE, says, 0);
    printf("%s\n", err(write(ends[1], "x", 1)));
    signal(SIGPIPE, SIG_IGN);
    printf("%s\n", err(write(ends[1], "x", 1)));
    fflush(stdout);
    signal(SIGPIPE, SIG_DFL);
    write(ends[1], "x", 1);
    return 0;
}
