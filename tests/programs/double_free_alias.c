/* Two owners of one buffer, each sure to be the only one. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct packet {
    char *payload;
    size_t size;
};

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0)
        _exit(1);
}

__attribute__((noinline)) static void release(struct packet *p)
{
    free(p->payload); /* EXPECT double-free */
    p->payload = NULL;
    p->size = 0;
}

int main(void)
{
    struct packet original = {malloc(128), 128};
    memset(original.payload, 0, 128);
    struct packet copy = original; /* shallow */

    say("releasing the original\n");
    release(&original);
    say("releasing the copy\n");
    release(&copy);
    say("still here\n");
    return 0;
}
