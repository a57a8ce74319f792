/* One free for two mallocs: the program with which articles on memory leaks begin. */
#include <stdlib.h>

int main(void)
{
    size_t s1 = 64, s2 = 32;

    void *p1 = malloc(s2);
    void *p2 = malloc(s1);

    free(p1);
    return 0;
}
