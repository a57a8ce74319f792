/* A handler for SIGSEGV that reports and leaves in order; the program leaks before. */
/* EXIT 9 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *state;

static void handler(int number)
{
    const char text[] = "caught a fault\n";
    if (number == SIGSEGV && write(1, text, sizeof text - 1) > 0)
        _exit(9);
    _exit(10);
}

__attribute__((noinline)) static size_t forget(const char *text)
{
    char *lost = strdup(text); /* EXPECT leak definitely-lost bytes=12 blocks=1 */
    return strlen(lost);
}

int main(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigaction(SIGSEGV, &action, NULL);

    state = malloc(30); /* EXPECT leak still-reachable bytes=30 blocks=1 */
    sprintf(state, "%zu", forget("forgot this"));
    puts(state);
    fflush(stdout);
    *(volatile int *)16 = 1;
    return 0;
}
