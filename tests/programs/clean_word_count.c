/* Counts words of standard input in a search tree, prints them sorted, and cleans up. */
/* CLEAN */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct word {
    char *text;
    int count;
    struct word *left, *right;
};

static struct word *add(struct word *w, const char *text)
{
    if (!w) {
        w = calloc(1, sizeof *w);
        w->text = strdup(text);
        w->count = 1;
        return w;
    }
    int order = strcmp(text, w->text);
    if (order == 0)
        w->count++;
    else if (order < 0)
        w->left = add(w->left, text);
    else
        w->right = add(w->right, text);
    return w;
}

static void print(const struct word *w)
{
    if (!w)
        return;
    print(w->left);
    printf("%4d %s\n", w->count, w->text);
    print(w->right);
}

static void destroy(struct word *w)
{
    if (!w)
        return;
    destroy(w->left);
    destroy(w->right);
    free(w->text);
    free(w);
}

int main(void)
{
    struct word *root = NULL;
    char text[64];
    int c, n = 0;
    do {
        c = getchar();
        if (c != EOF && isalpha(c) && n < 63) {
            text[n++] = (char)tolower(c);
        } else if (n) {
            text[n] = '\0';
            root = add(root, text);
            n = 0;
        }
    } while (c != EOF);
    print(root);
    destroy(root);
    return 0;
}
