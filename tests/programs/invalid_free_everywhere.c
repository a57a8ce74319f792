/* free() of what malloc never gave: inside a block, on the stack, global, a literal, mapped memory, a number. */
/* SKIP optimised: free becomes a jump, and the line the caller's */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static char global[64];

__attribute__((noinline)) static void *identity(void *p)
{
    return p;
}

__attribute__((noinline)) static void inside(void)
{
    char *text = malloc(32); /* EXPECT leak definitely-lost bytes=32 blocks=1 */
    strcpy(text, "  indented");
    while (*text == ' ')
        text++;
    free(text); /* EXPECT invalid-free */
}

__attribute__((noinline)) static void on_the_stack(void)
{
    char local[64];
    free(identity(local)); /* EXPECT invalid-free */
}

__attribute__((noinline)) static void elsewhere(void)
{
    free(identity(global)); /* EXPECT invalid-free */
    free(identity("a literal")); /* EXPECT invalid-free */
}

__attribute__((noinline)) static void mapped(void)
{
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 'x';
    free(identity(page)); /* EXPECT invalid-free */
    munmap(page, 4096);
}

__attribute__((noinline)) static void wild(void)
{
    free(identity((void *)(uintptr_t)0xdeadbeef0)); /* EXPECT invalid-free */
}

int main(void)
{
    inside();
    on_the_stack();
    elsewhere();
    mapped();
    wild();
    printf("done\n");
    return 0;
}
