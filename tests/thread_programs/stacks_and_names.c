#include "check.h"

static char memory[256 * 1024] __attribute__((aligned(4096)));

static void *shows(void *unused) {
    pthread_attr_t attributes;
    void *start;
    size_t size, guard;
    char name[16];
    MUST(pthread_getattr_np(pthread_self(), &attributes));
    MUST(pthread_attr_getstack(&attributes, &start, &size));
    MUST(pthread_attr_getguardsize(&attributes, &guard));
    MUST(pthread_setname_np(pthread_self(), "worker"));
    MUST(pthread_getname_np(pthread_self(), name, sizeof name));
    printf("%s stack %zu guard %zu, %s\n", name, size, guard,
           (char *)&name > (char *)start && (char *)&name < (char *)start + size ? "on it" : "elsewhere");
    MUST(pthread_attr_destroy(&attributes));
    return unused;
}

int main(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    MUST(pthread_attr_init(&attributes));
    MUST(pthread_create(&thread, &attributes, shows, 0));
    MUST(pthread_join(thread, 0));
    MUST(pthread_attr_setstack(&attributes, memory, sizeof memory));
    MUST(pthread_create(&thread, &attributes, shows, 0));
    MUST(pthread_join(thread, 0));
    MUST(pthread_attr_init(&attributes));
    SHOW(pthread_attr_setstacksize(&attributes, 100));
    MUST(pthread_attr_setstacksize(&attributes, 1 << 20));
    MUST(pthread_attr_setguardsize(&attributes, 3 * 4096));
    MUST(pthread_create(&thread, &attributes, shows, 0));
    MUST(pthread_join(thread, 0));
    return 0;
}
