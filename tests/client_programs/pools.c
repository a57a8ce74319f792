/* Memory pools: trimmed, moved, changed, destroyed; misused; pools of blocks out of which blocks are cut. */
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/memcheck.h>

struct pool {
    char *store;
    size_t used;
};

static struct pool *kept, *dropped;
static char *hold;

static struct pool *make(int flags) {
    struct pool *pool = malloc(sizeof *pool);
    pool->store = malloc(4096);
    pool->used = 32;
    VALGRIND_CREATE_MEMPOOL_EXT(pool, 0, 0, flags);
    VALGRIND_MEMPOOL_ALLOC(pool, pool->store + 16, 4000);
    return pool;
}

static void *cut(struct pool *pool, size_t size) {
    void *block = pool->store + pool->used;
    pool->used += ((size + 15) & ~15UL) + 16;
    VALGRIND_MALLOCLIKE_BLOCK(block, size, 0, 0);
    return block;
}

int main(void) {
    int one, other;
    char *volatile store = malloc(4096);
    VALGRIND_MAKE_MEM_NOACCESS(store, 4096);
    VALGRIND_CREATE_MEMPOOL(&one, 8, 0);
    for (int i = 0; i < 8; i++)
        VALGRIND_MEMPOOL_ALLOC(&one, store + 64 * i + 16, 32);
    VALGRIND_MEMPOOL_TRIM(&one, store + 128, 256);
    VALGRIND_MEMPOOL_CHANGE(&one, store + 128 + 16, store + 1024, 48);
    VALGRIND_MOVE_MEMPOOL(&one, store);
    printf("exist: %u %u\n", (unsigned)VALGRIND_MEMPOOL_EXISTS(&one), (unsigned)VALGRIND_MEMPOOL_EXISTS(store));
    hold = store + 1024;
    VALGRIND_MEMPOOL_FREE(store, store + 192 + 16);
    VALGRIND_MEMPOOL_FREE(store, store + 192 + 16);
    VALGRIND_MEMPOOL_FREE(store, store + 5);
    VALGRIND_CREATE_MEMPOOL(&other, 0, 0);
    for (int i = 0; i < 3; i++)
        VALGRIND_MEMPOOL_ALLOC(&other, store + 2048 + i * 16, 16);
    VALGRIND_DESTROY_MEMPOOL(&other);
    store = NULL;

    kept = make(VALGRIND_MEMPOOL_METAPOOL);
    cut(kept, 100);
    cut(kept, 200);
    void **volatile holder = cut(kept, 64);
    *holder = malloc(33);
    holder = NULL;
    dropped = make(VALGRIND_MEMPOOL_METAPOOL | VALGRIND_MEMPOOL_AUTO_FREE);
    cut(dropped, 300);
    cut(dropped, 400);
    VALGRIND_MEMPOOL_FREE(dropped, dropped->store + 16);
    VALGRIND_DESTROY_MEMPOOL(dropped);
    free(dropped->store);
    free(dropped);
    dropped = NULL;
    return 0;
}
