/* Blocks of the program's own: in static data, in a block of malloc's, in a mapping; released, resized, misused. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <valgrind/memcheck.h>

struct node {
    struct node *next;
    void *data;
};

static char arena[65536] __attribute__((aligned(16)));
static size_t used;
static struct node *list;
static char *inner, *held;

static void *take(size_t size) {
    void *block = arena + used;
    used += (size + 15) & ~15UL;
    VALGRIND_MALLOCLIKE_BLOCK(block, size, 0, 0);
    return block;
}

int main(void) {
    for (int i = 0; i < 5; i++) {
        struct node *node = take(sizeof *node);
        node->next = list;
        node->data = malloc(7);
        list = node;
    }
    void *volatile lost = take(100);
    lost = NULL;
    char *volatile middle = take(50);
    inner = middle + 10;
    middle = NULL;
    void *volatile released = take(30);
    VALGRIND_FREELIKE_BLOCK(released, 0);
    released = NULL;

    char *volatile store = malloc(4096);
    VALGRIND_MALLOCLIKE_BLOCK(store + 64, 128, 0, 1);
    held = store + 64;
    VALGRIND_MALLOCLIKE_BLOCK(store + 256, 100, 16, 1);
    VALGRIND_RESIZEINPLACE_BLOCK(store + 256, 100, 60, 16);
    VALGRIND_RESIZEINPLACE_BLOCK(store + 256, 60, 90, 16);
    VALGRIND_RESIZEINPLACE_BLOCK(store + 256, 61, 91, 16);
    store = NULL;

    char *volatile mapped = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    VALGRIND_MALLOCLIKE_BLOCK(mapped, 40, 0, 0);
    VALGRIND_FREELIKE_BLOCK(mapped, 0);
    VALGRIND_FREELIKE_BLOCK(mapped, 0);
    VALGRIND_FREELIKE_BLOCK(mapped + 5000, 0);
    printf("errors %u\n", (unsigned)VALGRIND_COUNT_ERRORS);
    VALGRIND_DISABLE_ERROR_REPORTING;
    VALGRIND_FREELIKE_BLOCK(mapped, 0);
    VALGRIND_ENABLE_ERROR_REPORTING;
    VALGRIND_FREELIKE_BLOCK(mapped, 0);

    VALGRIND_MALLOCLIKE_BLOCK(mapped + 256, 48, 0, 0);
    free((void *)(mapped + 256));
    void *volatile plain = malloc(49);
    VALGRIND_FREELIKE_BLOCK(plain, 0);
    plain = NULL;

    /* What a released block held is nobody's. */
    VALGRIND_MALLOCLIKE_BLOCK(mapped + 512, 16, 0, 0);
    *(void **)(mapped + 512) = malloc(77);
    VALGRIND_FREELIKE_BLOCK(mapped + 512, 0);
    /* And what was there before a mapping has nothing to do with what comes after it. */
    VALGRIND_MAKE_MEM_NOACCESS(mapped, 1 << 16);
    munmap((void *)mapped, 1 << 16);
    mapped = mmap((void *)mapped, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    *(void **)mapped = malloc(78);
    printf("errors %u\n", (unsigned)VALGRIND_COUNT_ERRORS);
    return 0;
}
