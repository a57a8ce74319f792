/* Loads plug-ins one after the other: in each other's place, again, with RTLD_DEEPBIND, in a namespace. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static void with(const char *what, void *h) {
    if (!h) { printf("%s: %s\n", what, dlerror()); return; }
    char *(*make)(int) = (char *(*)(int))dlsym(h, "make");
    void (*lose)(int) = (void (*)(int))dlsym(h, "lose");
    void (*drop)(char *) = (void (*)(char *))dlsym(h, "drop");
    int (*count)(void) = (int (*)(void))dlsym(h, "count");
    char *p = make(10); lose(20); 
    if (drop) drop(p);
    printf("%s: %d %d\n", what, count(), count());
    dlclose(h);
}
int main(int argc, char **argv) {
    with("one", dlopen(argv[1], RTLD_NOW));
    with("other in its place", dlopen(argv[2], RTLD_LAZY | RTLD_LOCAL));
    with("again", dlopen(argv[1], RTLD_NOW));
    with("deepbind", dlopen(argv[2], RTLD_NOW | RTLD_DEEPBIND));
    with("namespace", dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW));
    with("missing", dlopen("./missing.so", RTLD_NOW));
}
