/* Two owners of one block: each frees it, and neither can see that the other did. */
#include <stdlib.h>

struct message {
    char *text;
};

static void discard(struct message *message)
{
    free(message->text);
}

int main(void)
{
    struct message first = {malloc(16)};
    struct message second = first; /* copies the pointer, not the block */

    discard(&first);
    discard(&second);
    return 0;
}
