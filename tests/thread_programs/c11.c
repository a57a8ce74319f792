#include "check.h"
#include <threads.h>

static mtx_t lock, timed;
static cnd_t changed;
static once_flag flag = ONCE_FLAG_INIT;
static tss_t key;
static thread_local int mine;
static int turn, total;
static atomic_int destroyed;

static void once(void) { printf("once\n"); }
static void destructor(void *block) {
    free(block);
    destroyed++;
}

static int works(void *argument) {
    int number = *(int *)argument;
    call_once(&flag, once);
    tss_set(key, malloc(8));
    mtx_lock(&lock);
    while (turn != number)
        cnd_wait(&changed, &lock);
    mine += number;
    total += mine;
    printf("thread %d\n", number);
    turn++;
    cnd_broadcast(&changed);
    mtx_unlock(&lock);
    return number * 10;
}

int main(void) {
    thrd_t threads[4];
    int numbers[4], result, sum = 0;
    struct timespec soon;
    mtx_init(&lock, mtx_plain | mtx_recursive);
    mtx_init(&timed, mtx_timed);
    cnd_init(&changed);
    tss_create(&key, destructor);
    for (int i = 0; i < 4; i++) {
        numbers[i] = 3 - i;
        thrd_create(&threads[i], works, &numbers[i]);
    }
    for (int i = 0; i < 4; i++) {
        thrd_join(threads[i], &result);
        sum += result;
    }
    mtx_lock(&timed);
    timespec_get(&soon, TIME_UTC);
    soon.tv_nsec += 1000;
    printf("%d\n", mtx_timedlock(&timed, &soon) == thrd_timedout);
    printf("%d\n", mtx_trylock(&timed) == thrd_busy);
    thrd_sleep(&(struct timespec){0, 1000000}, 0);
    printf("%d %d %d\n", sum, total, destroyed);
    return 0;
}
