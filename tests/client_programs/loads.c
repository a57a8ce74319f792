/* Loads the plugin that it is given. */
#include <dlfcn.h>

int main(int argc, char **argv) {
    void *plugin = dlopen(argv[argc - 1], RTLD_LAZY);
    void (*run)(void) = (void (*)(void))dlsym(plugin, "run");
    run();
    return 0;
}
