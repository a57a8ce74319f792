/* free(NULL) is no call worth counting; a cleanup that relies on it is right. */
/* CLEAN */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    char *method, *path, *body;
};

static char *copy(const char *text)
{
    return text ? strcpy(malloc(strlen(text) + 1), text) : NULL;
}

static void handle(const char *method, const char *path, const char *body)
{
    struct request r = {copy(method), copy(path), copy(body)};
    printf("%s %s %s\n", r.method ? r.method : "-", r.path ? r.path : "-", r.body ? r.body : "-");
    free(r.method);
    free(r.path);
    free(r.body);
}

int main(void)
{
    handle("GET", "/", NULL);
    handle("POST", "/form", "a=1");
    handle(NULL, NULL, NULL);
    for (int i = 0; i < 100; i++)
        free(NULL);
    return 0;
}
