/* A tree of processes, each of which waits for its children and passes a sum up by its exit status. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int grow(int depth)
{
    int sum = 1;
    if (depth == 0)
        return sum;
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] < 0)
            return 200;
        if (children[i] == 0)
            _exit(grow(depth - 1));
    }
    for (int i = 0; i < 2; i++) {
        int status;
        if (waitpid(children[i], &status, 0) != children[i] || !WIFEXITED(status))
            return 201;
        sum += WEXITSTATUS(status);
    }
    return sum;
}

int main(void)
{
    int *block = malloc(sizeof *block);
    *block = 7;
    pid_t child = fork();
    if (child == 0) {
        printf("child sees %d, parent is parent: %d\n", (*block)++, getppid() != getpid());
        free(block);
        exit(*"\5");
    }
    int status;
    pid_t got = wait(&status);
    printf("waited %d, status %d, block still %d\n", got == child, WEXITSTATUS(status), *block);
    free(block);
    printf("tree of %d\n", grow(4));
    printf("no more: %d\n", wait(NULL));
    return 3;
}
