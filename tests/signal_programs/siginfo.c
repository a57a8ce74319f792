#include "common.h"

static void handler(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    printf("%d %d %d pid %d uid %d value %d\n", number, info->si_signo, info->si_code, info->si_pid == getpid(),
           info->si_uid == getuid(), info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);
    printf("flags %lx link %d mask %d\n", uc->uc_flags & 6, uc->uc_link != NULL, sigismember(&uc->uc_sigmask, number));
    printf("cs %x\n", (unsigned)uc->uc_mcontext.gregs[REG_CSGSFS] & 0xffff);
    printf("fp %d\n", ((uintptr_t)uc->uc_mcontext.fpregs & 63) == 0 && uc->uc_mcontext.fpregs->mxcsr == 0x1f80);
}
int main(void)
{
    int numbers[] = {SIGUSR1, SIGTERM, SIGHUP, SIGCHLD, SIGWINCH, SIGRTMIN + 3};
    for (int i = 0; i < 6; i++) on(numbers[i], handler, 0);
    raise(SIGUSR1);
    kill(getpid(), SIGTERM);
    kill(0, 0);
    pthread_kill(pthread_self(), SIGHUP);
    sigqueue(getpid(), SIGCHLD, (union sigval){.sival_int = 41});
    pthread_sigqueue(pthread_self(), SIGRTMIN + 3, (union sigval){.sival_int = 42});
    printf("%s %s\n", err(kill(getpid(), 65)), err(kill(getpid(), -1)));
    printf("%s %s\n", err(syscall(SYS_tgkill, getpid(), -1, 0)), err(syscall(SYS_tgkill, getpid(), 99999999, 0)));
    printf("%s %s\n", err(signal(SIGKILL, SIG_IGN) == SIG_ERR ? -1 : 0), err(signal(65, SIG_IGN) == SIG_ERR ? -1 : 0));
    return 0;
}
