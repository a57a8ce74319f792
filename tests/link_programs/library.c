/* See program.c. */
#include <stdlib.h>
#include <string.h>
static __thread int counter = 10;
__thread char big[3000];
extern __thread int exported_tls;
static int triple(int x) { return x * 3; }
static int (*resolve(void))(int) { return triple; }
int lib_ifunc(int x) __attribute__((ifunc("resolve")));
int lib_tls(int add) { big[0]++; return counter += add; }
char *lib_lose(int n) { char *p = malloc(n); memset(p, 2, n); return 0; } /* LIB */
