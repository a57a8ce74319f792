/* A chained hash table: removal forgets the key, replacement forgets the old value, the rest is lost with the table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 8

struct entry {
    char *key;
    char *value;
    struct entry *next;
};

struct table {
    struct entry *bucket[BUCKETS];
};

static unsigned hash(const char *key)
{
    unsigned h = 5381;
    while (*key)
        h = h * 33 ^ (unsigned char)*key++;
    return h % BUCKETS;
}

__attribute__((noinline)) static char *copy_key(const char *text)
{
    char *result = malloc(strlen(text) + 1); /* EXPECT leak definitely-lost bytes=6 blocks=1 */ /* EXPECT leak indirectly-lost bytes=12 blocks=2 */
    return strcpy(result, text);
}

__attribute__((noinline)) static char *copy_value(const char *text)
{
    size_t size = strlen(text) + 1;
    char *result = malloc(size); /* EXPECT leak definitely-lost bytes=4 blocks=1 */ /* EXPECT leak indirectly-lost bytes=12 blocks=2 */
    for (size_t i = 0; i < size; i++)
        result[i] = text[i];
    return result;
}

__attribute__((noinline)) static void put(struct table *table, const char *key, const char *value)
{
    struct entry **head = &table->bucket[hash(key)];
    for (struct entry *e = *head; e; e = e->next) {
        if (strcmp(e->key, key) == 0) {
            e->value = copy_value(value); /* the old value is lost */
            return;
        }
    }
    struct entry *e = malloc(sizeof *e); /* EXPECT leak indirectly-lost bytes=48 blocks=2 */
    e->key = copy_key(key);
    e->value = copy_value(value);
    e->next = *head;
    *head = e;
}

__attribute__((noinline)) static void delete(struct table *table, const char *key)
{
    for (struct entry **e = &table->bucket[hash(key)]; *e; e = &(*e)->next) {
        if (strcmp((*e)->key, key) == 0) {
            struct entry *dead = *e;
            *e = dead->next;
            free(dead->value); /* dead->key is lost */
            free(dead);
            return;
        }
    }
}

__attribute__((noinline)) static void session(void)
{
    struct table *table = calloc(1, sizeof *table); /* EXPECT leak definitely-lost bytes=64 blocks=1 */
    put(table, "alpha", "one");
    put(table, "gamma", "three");
    put(table, "omega", "seven");
    put(table, "alpha", "eight");
    delete(table, "gamma");
    printf("%s\n", table->bucket[hash("alpha")] ? "alpha is there" : "alpha is gone");
}

int main(void)
{
    session();
    return 0;
}
