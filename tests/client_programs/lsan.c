/* LeakSanitizer's interface, imported weakly as programs do it that need not be linked with it. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#define WEAK __attribute__((weak))
#define NOINLINE __attribute__((noinline))

WEAK void __lsan_disable(void);
WEAK void __lsan_enable(void);
WEAK void __lsan_ignore_object(const void *);
WEAK void __lsan_register_root_region(const void *, size_t);
WEAK void __lsan_unregister_root_region(const void *, size_t);
WEAK void __lsan_do_leak_check(void);
WEAK int __lsan_do_recoverable_leak_check(void);

static int off;
int __lsan_is_turned_off(void) { return off; }
const char *__lsan_default_suppressions(void) { return "leak:known_to_leak\nleak:of_no_use\n"; }

NOINLINE static void lose(size_t size) {
    void *volatile block = malloc(size);
    block = NULL;
}

NOINLINE void known_to_leak(void) { lose(11); }

static void *other(void *argument) {
    lose(1001);
    return argument;
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    if (!__lsan_disable) {
        puts("not there");
        return 1;
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    if (!strcmp(how, "clean")) {
        __lsan_do_leak_check();
        lose(5);
        return 0;
    }
    __lsan_disable();
    lose(10);
    void **volatile holder = malloc(8);
    *holder = malloc(20);
    __lsan_disable();
    __lsan_enable();
    lose(2000);
    pthread_t thread;
    pthread_create(&thread, NULL, other, NULL);
    pthread_join(thread, NULL);
    __lsan_enable();
    *holder = malloc(40); /* What an ignored block points to is in use. */
    holder = NULL;
    lose(30);
    char *volatile object = malloc(50);
    __lsan_ignore_object(object + 3);
    object = NULL;
    known_to_leak();
    if (!strcmp(how, "region")) {
        holder = malloc(64);
        *holder = malloc(60);
        __lsan_register_root_region(holder, 64);
        void **volatile former = malloc(72);
        *former = malloc(70);
        __lsan_register_root_region(former, 72);
        __lsan_unregister_root_region(former, 72);
        former = holder = NULL;
    }
    off = !strcmp(how, "off");
    if (!strcmp(how, "check"))
        __lsan_do_leak_check();
    if (!strcmp(how, "recoverable"))
        printf("%d\n", __lsan_do_recoverable_leak_check());
    puts("end");
    return 0;
}
