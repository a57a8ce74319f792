/* strdup, strcmp, strcat, strlen, strstr over a few hundred strings, again and again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 400, TURNS = 60 };

int main(void)
{
    char *words[WORDS];
    static char text[WORDS * 16];
    unsigned long smaller = 0, length = 0, found = 0;

    for (int turn = 0; turn < TURNS; turn++) {
        text[0] = '\0';
        for (int i = 0; i < WORDS; i++) {
            char word[16];
            snprintf(word, sizeof word, "word%05d ", (i * 7919 + turn) % 100000);
            words[i] = strdup(word);
            strcat(text, word);
        }
        for (int i = 0; i < WORDS; i++) {
            for (int j = 0; j < WORDS; j++)
                smaller += strcmp(words[i], words[j]) < 0;
            found += strstr(text, words[i]) != NULL;
        }
        length += strlen(text);
        for (int i = 0; i < WORDS; i++)
            free(words[i]);
    }
    printf("%lu %lu %lu\n", smaller, length, found);
    return 0;
}
