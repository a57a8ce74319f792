/* A handler on its own stack that jumps out of a fault, over the function which owned a buffer. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sigjmp_buf back;
static char stack[65536];

static void on_fault(int number)
{
    siglongjmp(back, number);
}

__attribute__((noinline)) static int measure(const char *text)
{
    char *copy = malloc(32); /* EXPECT leak definitely-lost bytes=64 blocks=2 */
    int length = 0;
    copy[0] = '<';
    for (const char *p = text; *p; p++)
        copy[++length % 32] = *p;
    free(copy);
    return length;
}

__attribute__((noinline)) static void attempt(const char *text)
{
    int number = sigsetjmp(back, 1);
    if (number)
        printf("signal %d\n", number);
    else
        printf("%d\n", measure(text));
}

int main(void)
{
    stack_t alternate;
    struct sigaction action;
    memset(&alternate, 0, sizeof alternate);
    memset(&action, 0, sizeof action);
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    sigaltstack(&alternate, NULL);
    action.sa_handler = on_fault;
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGSEGV, &action, NULL);

    attempt("abc");
    attempt((const char *)16);
    attempt("de");
    attempt(NULL);
    alternate.ss_flags = SS_DISABLE;
    sigaltstack(&alternate, NULL);
    memset(stack, 0, sizeof stack); /* there the handler's frame still holds the registers of measure() */
    return 0;
}
