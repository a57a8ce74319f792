/* Uses a library, TLS of its own and the library's, an IFUNC of each; both lose a block. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern char *lib_lose(int n);
extern int lib_tls(int add);
extern int lib_ifunc(int x);
static __thread int mine = 5;
__thread int exported_tls = 7;
static int two(int x) { return x * 2; }
static int (*pick(void))(int) { return two; }
int chosen(int x) __attribute__((ifunc("pick")));
static void *thread(void *arg) { mine += 1; return (void *)(long)(mine + lib_tls(3) + exported_tls); }
static void own_lose(int n) { memset(malloc(n), 1, n); } /* OWN */
int main(void)
{
    pthread_t t; void *r;
    own_lose(31);
    lib_lose(32);
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, &r);
    printf("%d %ld %d %d %d\n", chosen(21), (long)r, lib_tls(1), mine, lib_ifunc(4));
    free(strdup("x"));
    return 3;
}
