/* The only pointer is in memory the program mapped itself: it counts as long as the mapping stands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

__attribute__((noinline)) static char **page(void)
{
    void *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

__attribute__((noinline)) static void keep(char **index)
{
    index[700] = malloc(50); /* EXPECT leak still-reachable bytes=50 blocks=1 */
    strcpy(index[700], "kept in a mapping");
    puts(index[700]);
}

__attribute__((noinline)) static void lose(char **index)
{
    index[3] = malloc(60); /* EXPECT leak definitely-lost bytes=60 blocks=1 */
    strcpy(index[3], "lost with its mapping");
    puts(index[3]);
}

__attribute__((noinline)) static void work(void)
{
    char **first = page();
    keep(first);
    char **second = page();
    lose(second);
    munmap(second, 8192);
}

int main(void)
{
    work();
    return 0;
}
