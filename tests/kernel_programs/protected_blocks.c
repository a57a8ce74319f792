/* Blocks of the heap whose pages the program protects: code that it writes there, and guard pages. */
#define _GNU_SOURCE
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static sigjmp_buf back;

static void caught(int signal)
{
    (void)signal;
    siglongjmp(back, 1);
}

static void code_on_the_heap(void)
{
    unsigned char *code = memalign(4096, 4096);
    printf("mprotect %d\n", mprotect(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
    for (int i = 1; i < 5; i++) { /* each time other code in the same place */
        unsigned char return_i[] = {0xb8, i, 0, 0, 0, 0xc3};
        memcpy(code, return_i, sizeof return_i);
        printf("%d\n", ((int (*)(void))code)());
    }
    mprotect(code, 4096, PROT_READ | PROT_WRITE);
    free(code);
}

static void guard_pages(void)
{
    char *area = memalign(4096, 3 * 4096);
    signal(SIGSEGV, caught);
    printf("mprotect %d\n", mprotect(area + 8192, 4096, PROT_NONE));
    for (int offset = 8191; offset < 8193; offset++)
        if (sigsetjmp(back, 1))
            printf("%d is guarded\n", offset);
        else {
            area[offset] = 1;
            printf("%d is not\n", offset);
        }
    printf("mprotect %d\n", mprotect(area + 8192, 4096, PROT_READ));
    printf("%d\n", area[8192]);
    printf("mprotect %d\n", mprotect(area + 8192, 4096, PROT_READ | PROT_WRITE));
    free(area);
}

static void life_goes_on(void)
{
    char *blocks[100];
    for (int i = 0; i < 100; i++)
        memset(blocks[i] = malloc(4000), i, 4000);
    for (int i = 0; i < 100; i++) {
        printf("%d ", blocks[i][3999]);
        free(blocks[i]);
    }
    puts("");
    for (int i = 0; i < 12; i++)
        puts("done");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    code_on_the_heap();
    guard_pages();
    life_goes_on();
}
