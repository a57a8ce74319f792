/* The program keeps only a pointer into the middle of its block. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *cursor;
static int *one_based;

__attribute__((noinline)) static void open_text(void)
{
    char *text = malloc(64); /* EXPECT leak possibly-lost bytes=64 blocks=1 */
    strcpy(text, "   leading blanks are skipped");
    cursor = text;
    while (*cursor == ' ')
        cursor++;
}

/* Numerical Recipes' trick the other way round: the table is addressed from its second element. */
__attribute__((noinline)) static void make_table(int n)
{
    one_based = malloc(n * sizeof *one_based); /* EXPECT leak possibly-lost bytes=80 blocks=1 */
    for (int i = 0; i < n; i++)
        one_based[i] = i;
    one_based++;
}

int main(void)
{
    open_text();
    make_table(20);
    printf("%s %d\n", cursor, one_based[3]);
    return 0;
}
