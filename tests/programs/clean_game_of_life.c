/* The game of life on two boards that are swapped. */
/* CLEAN */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 12
#define COLUMNS 24

static int neighbours(const char *board, int row, int column)
{
    int count = 0;
    for (int y = -1; y <= 1; y++)
        for (int x = -1; x <= 1; x++)
            if (x || y)
                count += board[(row + y + ROWS) % ROWS * COLUMNS + (column + x + COLUMNS) % COLUMNS];
    return count;
}

int main(void)
{
    char *now = calloc(ROWS, COLUMNS), *next = calloc(ROWS, COLUMNS);
    static const int glider[][2] = {{1, 2}, {2, 3}, {3, 1}, {3, 2}, {3, 3}};
    for (int i = 0; i < 5; i++)
        now[glider[i][0] * COLUMNS + glider[i][1]] = 1;

    for (int generation = 0; generation < 40; generation++) {
        for (int row = 0; row < ROWS; row++)
            for (int column = 0; column < COLUMNS; column++) {
                int n = neighbours(now, row, column);
                next[row * COLUMNS + column] = n == 3 || (n == 2 && now[row * COLUMNS + column]);
            }
        char *swap = now;
        now = next;
        next = swap;
    }
    for (int row = 0; row < ROWS; row++) {
        for (int column = 0; column < COLUMNS; column++)
            putchar(now[row * COLUMNS + column] ? '#' : '.');
        putchar('\n');
    }
    free(now);
    free(next);
    return 0;
}
