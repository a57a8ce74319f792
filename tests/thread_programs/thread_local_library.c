__thread int counter = 100;
static __thread int hidden[1000] = {3};

int bump(int by) { return counter += by + hidden[0] - 3; }
int *place(void) { return &hidden[0]; }
