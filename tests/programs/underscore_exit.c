/* _exit: no handlers, no flush; what leaked is reported all the same. */
/* EXIT 7 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *global_name;

static void handler(void)
{
    puts("never runs");
}

__attribute__((noinline)) static void forget(void)
{
    char *lost = malloc(123); /* EXPECT leak definitely-lost bytes=123 blocks=1 */
    strcpy(lost, "working\n");
    if (write(1, lost, 8) != 8)
        _exit(1);
}

int main(void)
{
    atexit(handler);
    global_name = strdup("global"); /* EXPECT leak still-reachable bytes=7 blocks=1 */
    forget();
    printf("this stays in the buffer");
    _exit(7);
}
