#include <stdlib.h>

struct node { struct node *next; int value; };

static int second(struct node *list)
{
	return list->next->value;
}

int main(void)
{
	struct node *list = calloc(1, sizeof *list);
	return second(list);
}
