/* A leak on an error path: the good case frees everything, the early return does not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct person {
    char *name;
    int age;
};

static struct person *parse(const char *text)
{
    struct person *person = malloc(sizeof *person);
    person->name = strdup(text);

    char *colon = strchr(person->name, ':');
    if (colon == NULL)
        return NULL; /* who frees person now, and its name? */

    *colon = '\0';
    person->age = atoi(colon + 1);
    return person;
}

int main(void)
{
    const char *lines[] = {"Ada:36", "Grace", "Edsger:72"};

    for (int i = 0; i < 3; i++) {
        struct person *person = parse(lines[i]);
        if (person == NULL) {
            printf("cannot read \"%s\"\n", lines[i]);
            continue;
        }
        printf("%s is %d\n", person->name, person->age);
        free(person->name);
        free(person);
    }
    return 0;
}
