/* Josephus' ring: the survivors are a cycle nobody points to any more. */
#include <stdio.h>
#include <stdlib.h>

struct seat {
    int number;
    struct seat *next;
};

__attribute__((noinline)) static struct seat *make_ring(int n)
{
    struct seat *first = NULL, *last = NULL;
    for (int i = 1; i <= n; i++) {
        struct seat *seat = malloc(sizeof *seat); /* EXPECT leak definitely-lost bytes=16 blocks=1 */ /* EXPECT leak indirectly-lost bytes=32 blocks=2 */
        seat->number = i;
        if (last)
            last->next = seat;
        else
            first = seat;
        last = seat;
    }
    last->next = first;
    return last;
}

__attribute__((noinline)) static void play(int n, int k, int survivors)
{
    struct seat *before = make_ring(n);
    for (; n > survivors; n--) {
        for (int i = 1; i < k; i++)
            before = before->next;
        struct seat *out = before->next;
        before->next = out->next;
        printf("%d ", out->number);
        free(out);
    }
    printf("| %d\n", before->number);
}

int main(void)
{
    play(10, 3, 3);
    return 0;
}
