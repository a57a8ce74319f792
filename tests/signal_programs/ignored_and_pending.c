#include "common.h"

int main(void)
{
    sigset_t pending;
    raise(SIGCHLD); raise(SIGURG); raise(SIGWINCH); raise(SIGCONT);
    signal(SIGTERM, SIG_IGN);
    raise(SIGTERM);
    block(SIG_BLOCK, SIGCHLD);
    block(SIG_BLOCK, SIGUSR1);
    raise(SIGCHLD);
    raise(SIGUSR1);
    on(SIGCHLD, says, 0);
    sigpending(&pending);
    printf("%d %d\n", sigismember(&pending, SIGCHLD), sigismember(&pending, SIGUSR1));
    signal(SIGUSR1, SIG_IGN);
    sigpending(&pending);
    printf("%d\n", sigismember(&pending, SIGUSR1));
    signal(SIGUSR1, SIG_DFL);
    block(SIG_UNBLOCK, SIGCHLD);
    block(SIG_UNBLOCK, SIGUSR1);
    raise(SIGSTOP == 19 ? SIGCHLD : SIGUSR1);
    return 3;
}
