/* 100,000 blocks lost from 1,000 different stacks: what the scan, the unwinder and the report cost together.

   Three levels of ten calls each make the thousand stacks. */
#include <stdlib.h>
#include <string.h>

#define TEN(call) \
    do { \
        call; call; call; call; call; \
        call; call; call; call; call; \
    } while (0)

static void lose(void)
{
    memset(malloc(40), 1, 40);
}

static void inner(void) { TEN(lose()); }
static void middle(void) { TEN(inner()); }
static void outer(void) { TEN(middle()); }

int main(void)
{
    for (int turn = 0; turn < 100; turn++)
        outer();
    return 0;
}
