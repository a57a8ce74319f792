/* Code that is written while the program runs, in all the ways that just-in-time compilers have. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int function(void);
enum { PAGE = 4096, RW = PROT_READ | PROT_WRITE, RX = PROT_READ | PROT_EXEC, RWX = RW | PROT_EXEC };

/* mov eax, number; ret */
static void assemble(unsigned char *at, int number) {
    at[0] = 0xb8;
    memcpy(at + 1, &number, 4);
    at[5] = 0xc3;
}

static unsigned char *map(int prot) {
    return mmap(0, 4 * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void over_itself(void) {
    unsigned char *code = map(RWX);
    int sum = 0;
    for (int i = 0; i < 1000; i++) {
        assemble(code, i);
        sum += ((function *)code)();
    }
    printf("written over: %d\n", sum);
}

static void in_turns(void) {
    unsigned char *code = map(RW);
    int sum = 0;
    for (int i = 0; i < 50; i++) {
        mprotect(code, PAGE, RW);
        assemble(code, i);
        mprotect(code, PAGE, RX);
        sum += ((function *)code)();
    }
    printf("writable and executable in turns: %d\n", sum);
}

static void on_the_heap(void) {
    unsigned char *block = aligned_alloc(PAGE, 2 * PAGE);
    mprotect(block, 2 * PAGE, RWX);
    int sum = 0;
    for (int i = 0; i < 50; i++) {
        assemble(block + 100, i);
        sum += ((function *)(block + 100))();
    }
    mprotect(block, 2 * PAGE, RW);
    free(block);
    printf("on the heap: %d\n", sum);
}

static void two_views(void) {
    int fd = memfd_create("code", 0), sum = 0;
    if (ftruncate(fd, PAGE))
        return;
    unsigned char *writable = mmap(0, PAGE, RW, MAP_SHARED, fd, 0);
    unsigned char *executable = mmap(0, PAGE, RX, MAP_SHARED, fd, 0);
    if (writable == MAP_FAILED || executable == MAP_FAILED) {
        printf("two views: refused\n");
        return;
    }
    for (int i = 0; i < 50; i++) {
        assemble(writable, i);
        sum += ((function *)executable)();
    }
    printf("two views of one memory: %d\n", sum);
}

static void other_code_at_the_same_place(void) {
    unsigned char *code = map(RWX);
    int sum = 0;
    for (int i = 0; i < 20; i++) {
        assemble(code, i);
        sum += ((function *)code)();
        munmap(code, 4 * PAGE);
        if (mmap(code, 4 * PAGE, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != code)
            return;
    }
    assemble(code, 1);
    unsigned char *moved = mremap(code, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, code + 2 * PAGE);
    sum += ((function *)moved)();
    printf("unmapped, mapped, moved: %d\n", sum);
}

/* The instruction behind a store is the one that is stored: a block of code that changes itself. */
static void within_a_block(void) {
    unsigned char *code = map(RWX);
    /* mov byte ptr [rip + 1], 42; mov eax, 7; ret */
    static const unsigned char bytes[] = {0xc6, 0x05, 0x01, 0, 0, 0, 42, 0xb8, 7, 0, 0, 0, 0xc3};
    memcpy(code, bytes, sizeof bytes);
    printf("within a block: %d", ((function *)code)());
    memcpy(code, bytes, sizeof bytes);
    printf(" %d\n", ((function *)code)());
}

static void across_pages(void) {
    unsigned char *code = map(RWX);
    int sum = 0;
    for (int i = 0; i < 50; i++) {
        assemble(code + PAGE - 3, i * 0x10001);
        sum += ((function *)(code + PAGE - 3))();
    }
    printf("across two pages: %d\n", sum);
}

static void on_the_stack(void) {
    unsigned char bytes[64] __attribute__((aligned(64)));
    unsigned char *page = (unsigned char *)((uintptr_t)bytes & -PAGE);
    if (mprotect(page, PAGE, RWX)) {
        printf("on the stack: refused\n");
        return;
    }
    int sum = 0;
    for (int i = 0; i < 20; i++) {
        assemble(bytes, i);
        sum += ((function *)bytes)();
    }
    mprotect(page, PAGE, RW);
    printf("on the stack: %d\n", sum);
}

static unsigned char *shared;

static void *thread(void *unused) {
    for (int i = 0; i < 100; i++)
        assemble(shared + 512, i);
    return unused;
}

static void by_another_thread(void) {
    pthread_t other;
    shared = map(RWX);
    assemble(shared + 512, -1);
    int first = ((function *)(shared + 512))();
    pthread_create(&other, 0, thread, 0);
    pthread_join(other, 0);
    printf("by another thread: %d %d\n", first, ((function *)(shared + 512))());
}

static void by_a_system_call(void) {
    unsigned char *code = map(RWX), bytes[6];
    int ends[2], sum = 0;
    if (pipe(ends))
        return;
    for (int i = 0; i < 20; i++) {
        assemble(bytes, i);
        if (write(ends[1], bytes, 6) != 6 || read(ends[0], code, 6) != 6)
            return;
        sum += ((function *)code)();
    }
    printf("by a system call: %d\n", sum);
}

static void by_a_child(void) {
    unsigned char *code = mmap(0, PAGE, RWX, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assemble(code, 1);
    int sum = ((function *)code)();
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (!child) {
            assemble(code, 10 * i);
            _exit(((function *)code)());
        }
        int status;
        waitpid(child, &status, 0);
        sum += WEXITSTATUS(status) + ((function *)code)();
    }
    printf("by a child: %d\n", sum);
}

int main(void) {
    setvbuf(stdout, 0, _IOLBF, 0);
    over_itself();
    in_turns();
    on_the_heap();
    two_views();
    other_code_at_the_same_place();
    within_a_block();
    across_pages();
    on_the_stack();
    by_another_thread();
    by_a_system_call();
    fflush(stdout);
    by_a_child();
    return 0;
}
