/* A small tool: options by getopt, messages by varargs, a list of strings that is never released. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *messages[16];
static int count;

/* The classic from the manual page of vsnprintf: measure, allocate, print. */
__attribute__((noinline)) static char *format(const char *template, ...)
{
    va_list arguments;
    va_start(arguments, template);
    int size = vsnprintf(NULL, 0, template, arguments) + 1;
    va_end(arguments);

    char *text = malloc(size); /* EXPECT leak still-reachable bytes=33 blocks=2 */ /* EXPECT leak definitely-lost bytes=13 blocks=1 */
    va_start(arguments, template);
    vsnprintf(text, size, template, arguments);
    va_end(arguments);
    return text;
}

int main(void)
{
    char *arguments[] = {"tool", "-v", "-o", "out.txt", "--level", "3", "-x", "input", NULL};
    static const struct option options[] = {
        {"level", required_argument, NULL, 'l'}, {"output", required_argument, NULL, 'o'}, {0}};
    int option;

    opterr = 0;
    while ((option = getopt_long(8, arguments, "vo:l:", options, NULL)) != -1) {
        switch (option) {
        case 'o':
            messages[count++] = format("output to %s", optarg);
            break;
        case 'l':
            messages[count++] = format("level %d of %.1f", atoi(optarg), 9.5);
            break;
        case '?':
            printf("%s\n", format("no option -%c", optopt));
            break;
        default:
            printf("-%c\n", option);
        }
    }
    for (int i = 0; i < count; i++)
        printf("%s\n", messages[i]);
    printf("left: %s\n", arguments[optind]);
    return 0;
}
