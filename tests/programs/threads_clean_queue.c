/* Producer and consumer with a condition variable: every message is made by one thread and freed by the other. */
/* CLEAN */
/* FLAGS -pthread */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct message {
    int number;
    struct message *next;
};

static struct message *head, **tail = &head;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ready = PTHREAD_COND_INITIALIZER;

static void *produce(void *unused)
{
    (void)unused;
    for (int i = 0; i <= 50; i++) {
        struct message *m = malloc(sizeof *m);
        m->number = i < 50 ? i : -1;
        m->next = NULL;
        pthread_mutex_lock(&lock);
        *tail = m;
        tail = &m->next;
        pthread_cond_signal(&ready);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void *consume(void *result)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!head)
            pthread_cond_wait(&ready, &lock);
        struct message *m = head;
        head = m->next;
        if (!head)
            tail = &head;
        pthread_mutex_unlock(&lock);
        int number = m->number;
        free(m);
        if (number < 0)
            return NULL;
        *(long *)result += number;
    }
}

int main(void)
{
    pthread_t producer, consumer;
    long sum = 0;
    pthread_create(&consumer, NULL, consume, &sum);
    pthread_create(&producer, NULL, produce, NULL);
    pthread_join(producer, NULL);
    pthread_join(consumer, NULL);
    printf("%ld\n", sum);
    return 0;
}
