/* What a constructor sees and keeps of stderr, before main, is the file that main has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static FILE *kept;
static struct stat before;

__attribute__((constructor)) static void early(void)
{
    fprintf(stderr, "early\n");
    fstat(2, &before);
    kept = fdopen(dup(2), "w");
    fprintf(stderr, "tty %d\n", isatty(2));
}

int main(void)
{
    struct stat now;
    fstat(2, &now);
    fprintf(stderr, "the same %d\n", now.st_ino == before.st_ino && now.st_mode == before.st_mode);
    fprintf(kept, "through the duplicate\n");
    fflush(kept);
    fprintf(stderr, "main\n");
    fclose(kept);
    close(2);
}
