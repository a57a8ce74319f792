/* SIZE bytes more are lost by one plug-in than by the other. */
#include <stdlib.h>
#include <string.h>
static __thread int calls;
static char *kept;
char *make(int n) { return memset(malloc(n), 1, n); }
void lose(int n) { memset(malloc(n + SIZE), 1, n); /* LOSE */ }
void drop(char *p) { free(p); }
int count(void) { return ++calls; }
__attribute__((constructor)) static void up(void) { kept = malloc(5); }
__attribute__((destructor)) static void down(void) { free(kept); }
