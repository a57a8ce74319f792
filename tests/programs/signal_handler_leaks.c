/* Blocks allocated in handlers: one keeps what it allocates, one forgets it; the program is interrupted by a fault. */
/* VALGRIND-FLAGS --vex-iropt-register-updates=allregs-at-mem-access */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *page, *kept;

static void on_fault(int number, siginfo_t *info, void *context)
{
    char *note = malloc(40); /* EXPECT leak definitely-lost bytes=80 blocks=2 */
    sprintf(note, "fault at offset %d", (int)((char *)info->si_addr - page));
    puts(note);
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void on_user(int number)
{
    free(kept);
    kept = malloc(24); /* EXPECT leak still-reachable bytes=24 blocks=1 */
    strcpy(kept, "kept");
}

__attribute__((noinline)) static int touch(int where)
{
    page[where] = 'x';
    return page[where];
}

int main(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = on_fault;
    sigaction(SIGSEGV, &action, NULL);
    signal(SIGUSR1, on_user);

    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%c\n", touch(7));
    mprotect(page, 4096, PROT_NONE);
    printf("%c\n", touch(99));
    raise(SIGUSR1);
    raise(SIGUSR1);
    puts(kept);
    munmap(page, 4096);
    return 0;
}
