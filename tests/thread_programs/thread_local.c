/* Thread-local storage: of the program, and of a library that comes by dlopen, in both of its models. */
#include "check.h"
#include <dlfcn.h>

__thread int own = 5;
__thread char zero[100];
static _Thread_local struct { long a, b; } pair = {1, 2};
__thread int strict __attribute__((tls_model("local-exec"))) = 9;
static int (*bump)(int), *(*place)(void);

static void *works(void *argument) {
    long number = (long)argument;
    own += number;
    pair.b *= number + 1;
    zero[number] = 7;
    strict--;
    int sum = 0;
    for (int i = 0; i < 100; i++)
        sum += zero[i];
    for (int i = 0; i < number; i++)
        bump(10);
    printf("%d %ld %d %d %d %d\n", own, pair.b, sum, strict, bump(0), *place());
    return place();
}

int main(int count, char **arguments) {
    void *library = dlopen(arguments[1], RTLD_NOW);
    (void)count;
    if (!library) {
        printf("%s\n", dlerror());
        return 1;
    }
    bump = (int (*)(int))dlsym(library, "bump");
    place = (int *(*)(void))dlsym(library, "place");
    void *mine = works(0);
    for (long i = 1; i < 4; i++) {
        pthread_t thread;
        void *theirs;
        MUST(pthread_create(&thread, 0, works, (void *)i));
        MUST(pthread_join(thread, &theirs));
        printf("%s\n", mine == theirs ? "shared" : "apart");
    }
    return 0;
}
