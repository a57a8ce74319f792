/* A small JSON reader: on a syntax error it drops what it has built so far. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { NUMBER, STRING, ARRAY };

struct json {
    enum kind kind;
    double number;
    char *string;
    struct json **items;
    int count;
};

static const char *at;

__attribute__((noinline)) static struct json *make(enum kind kind)
{
    struct json *j = calloc(1, sizeof *j); /* EXPECT leak definitely-lost bytes=40 blocks=1 */ /* EXPECT leak indirectly-lost bytes=80 blocks=2 */
    j->kind = kind;
    return j;
}

static struct json *value(void);

__attribute__((noinline)) static struct json *string(void)
{
    const char *start = ++at;
    while (*at && *at != '"')
        at++;
    struct json *j = make(STRING);
    j->string = malloc(at - start + 1); /* EXPECT leak indirectly-lost bytes=6 blocks=1 */
    memcpy(j->string, start, at - start);
    j->string[at - start] = '\0';
    if (*at)
        at++;
    return j;
}

__attribute__((noinline)) static struct json *array(void)
{
    struct json *j = make(ARRAY);
    at++;
    while (*at != ']') {
        struct json *item = value();
        if (!item)
            return NULL; /* forgets j and all its items */
        j->items = realloc(j->items, (j->count + 1) * sizeof *j->items); /* EXPECT leak indirectly-lost bytes=16 blocks=1 */
        j->items[j->count++] = item;
        if (*at == ',')
            at++;
    }
    at++;
    return j;
}

static struct json *value(void)
{
    while (*at == ' ')
        at++;
    if (*at == '"')
        return string();
    if (*at == '[')
        return array();
    if (!isdigit((unsigned char)*at))
        return NULL;
    struct json *j = make(NUMBER);
    char *end;
    j->number = strtod(at, &end);
    at = end;
    return j;
}

static int destroy(struct json *j)
{
    int nodes = 1;
    for (int i = 0; i < j->count; i++)
        nodes += destroy(j->items[i]);
    free(j->items);
    free(j->string);
    free(j);
    return nodes;
}

__attribute__((noinline)) static void parse(const char *text)
{
    at = text;
    struct json *j = value();
    if (j)
        printf("%d nodes\n", destroy(j));
    else
        printf("syntax error at %s\n", at);
}

int main(void)
{
    parse("[1, [2, \"three\"], 4.5, []]");
    parse("[\"alpha\", 12, ?]");
    parse("\"alone\"");
    return 0;
}
