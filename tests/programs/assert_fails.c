/* A failed assertion: libc builds a message, writes it to stderr, and aborts. */
/* SIGNAL SIGABRT */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct account {
    long balance;
};

struct account *bank[3];

__attribute__((noinline)) static struct account *open_account(long balance)
{
    struct account *a = malloc(sizeof *a); /* EXPECT leak still-reachable bytes=16 blocks=2 */ /* EXPECT leak definitely-lost bytes=8 blocks=1 */
    a->balance = balance;
    return a;
}

static void withdraw(struct account *a, long amount)
{
    assert(amount <= a->balance);
    a->balance -= amount;
}

int main(void)
{
    bank[0] = open_account(100);
    bank[1] = open_account(200);
    bank[1] = open_account(50); /* the one before is lost */
    withdraw(bank[0], 70);
    printf("%ld\n", bank[0]->balance);
    fflush(stdout);
    withdraw(bank[1], 70);
    return 0;
}
