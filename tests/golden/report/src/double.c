#include <stdlib.h>

int main(void)
{
	char *buffer = malloc(64);
	if (buffer == NULL)
		return 1;
	free(buffer);

	free(buffer + 8);
	free(buffer);
	return 0;
}
