#include "common.h"

int main(void)
{
    sigset_t empty, now;
    sigemptyset(&empty);
    on(SIGUSR1, says, SA_RESTART);
    on(SIGALRM, says, SA_RESTART);
    block(SIG_BLOCK, SIGUSR1);
    raise(SIGUSR1);
    puts("suspending");
    printf("%s\n", err(sigsuspend(&empty)));
    sigprocmask(SIG_BLOCK, NULL, &now);
    printf("blocked again %d\n", sigismember(&now, SIGUSR1));
    alarm(1);
    printf("%s\n", err(sigsuspend(&empty)));
    alarm(1);
    printf("%s\n", err(pause()));
    return 0;
}
