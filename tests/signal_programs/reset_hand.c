#include "common.h"

int main(void)
{
    struct sigaction now;
    on(SIGUSR1, says, SA_RESETHAND);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &now);
    printf("%d %d\n", now.sa_handler == SIG_DFL, (now.sa_flags & SA_RESETHAND) != 0);
    fflush(stdout);
    raise(SIGUSR1);
    return 0;
}
