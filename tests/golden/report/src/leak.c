#include <stdlib.h>
#include <string.h>

static char *copy(const char *text)
{
	char *result = malloc(strlen(text) + 1);
	return strcpy(result, text);
}

int main(void)
{
	char *name = copy("emuleak");
	name = copy("leak");
	free(name);
	return 0;
}
