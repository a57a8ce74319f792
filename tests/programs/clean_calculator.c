/* A recursive-descent calculator over standard input; a tree a line, freed after it is printed. */
/* CLEAN */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

struct node {
    char op; /* or 'n' */
    double number;
    struct node *left, *right;
};

static const char *at;

static struct node *sum(void);

static struct node *make(char op, double number, struct node *left, struct node *right)
{
    struct node *n = malloc(sizeof *n);
    *n = (struct node){op, number, left, right};
    return n;
}

static void skip(void)
{
    while (*at == ' ')
        at++;
}

static struct node *atom(void)
{
    skip();
    if (*at == '(') {
        at++;
        struct node *inside = sum();
        skip();
        if (*at == ')')
            at++;
        return inside;
    }
    if (*at == '-') {
        at++;
        return make('-', 0, make('n', 0, NULL, NULL), atom());
    }
    char *end;
    double number = strtod(at, &end);
    at = end;
    return make('n', number, NULL, NULL);
}

static struct node *product(void)
{
    struct node *left = atom();
    for (skip(); *at == '*' || *at == '/'; skip()) {
        char op = *at++;
        left = make(op, 0, left, atom());
    }
    return left;
}

static struct node *sum(void)
{
    struct node *left = product();
    for (skip(); *at == '+' || *at == '-'; skip()) {
        char op = *at++;
        left = make(op, 0, left, product());
    }
    return left;
}

static double value(const struct node *n)
{
    switch (n->op) {
    case '+':
        return value(n->left) + value(n->right);
    case '-':
        return value(n->left) - value(n->right);
    case '*':
        return value(n->left) * value(n->right);
    case '/':
        return value(n->left) / value(n->right);
    default:
        return n->number;
    }
}

static void destroy(struct node *n)
{
    if (n) {
        destroy(n->left);
        destroy(n->right);
        free(n);
    }
}

int main(void)
{
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        at = line;
        struct node *tree = sum();
        printf("%.10g\n", value(tree));
        destroy(tree);
    }
    return 0;
}
