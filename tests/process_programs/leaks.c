/* Leaks and misuse on both sides of a fork: which are whose. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *kept;

static void lose_in_child(void)
{
    char *lost = malloc(33);
    lost[0] = 'x';
    lost = NULL;
}

static void twice_in_child(void)
{
    char *block = malloc(44);
    free(block);
    free(block);
}

static void over_in_child(char *inherited)
{
    char *block = malloc(10);
    block[10] = 'x';
    free(block);
    inherited[20] = 'y';
    free(inherited);
}

static void lose_in_parent(void)
{
    char *lost = malloc(55);
    lost[0] = 'x';
}

static void clear_stack(void)
{
    char space[4096];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

int main(void)
{
    kept = malloc(100);
    char *inherited = malloc(20);
    lose_in_parent();
    clear_stack();
    for (int i = 0; i < 2; i++) {
        if (fork() == 0) {
            lose_in_child();
            clear_stack();
            if (i == 0) {
                twice_in_child();
                over_in_child(inherited);
            }
            exit(0);
        }
        wait(NULL);
    }
    if (fork() == 0) {
        free(kept);
        free(inherited);
        _exit(0);
    }
    wait(NULL);
    free(inherited);
    free(kept);
    return 0;
}
