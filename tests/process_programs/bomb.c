/* More processes than there may be: fork fails with EAGAIN, and all that were made can be waited for. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int made = 0, waited = 0, hold[2];
    pipe(hold);
    for (;;) {
        pid_t child = fork();
        if (child == 0) {
            char c;
            close(hold[1]);
            read(hold[0], &c, 1);
            _exit(0);
        }
        if (child < 0)
            break;
        made++;
        if (made == 2000)
            return 1;
    }
    int error = errno;
    close(hold[1]);
    while (wait(NULL) > 0)
        waited++;
    printf("refused %d, some %d, all waited for %d\n", error == EAGAIN, made > 20, made == waited);
    pid_t again = fork();
    if (again == 0)
        _exit(0);
    printf("again %d\n", again > 0);
    return 0;
}
