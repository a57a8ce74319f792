#include "check.h"
#include <fcntl.h>
#include <semaphore.h>

static sem_t free_, full;
static int box;
static long sum;

static void *takes(void *unused) {
    for (int i = 0; i < 100; i++) {
        sem_wait(&full);
        sum += box;
        sem_post(&free_);
    }
    return unused;
}

int main(void) {
    pthread_t thread;
    int value;
    sem_init(&free_, 0, 1);
    sem_init(&full, 0, 0);
    MUST(pthread_create(&thread, 0, takes, 0));
    for (int i = 1; i <= 100; i++) {
        sem_wait(&free_);
        box = i;
        sem_post(&full);
    }
    MUST(pthread_join(thread, 0));
    sem_getvalue(&free_, &value);
    printf("sum %ld, free %d\n", sum, value);
    struct timespec soon = from_now(CLOCK_REALTIME, 20);
    printf("%d %s\n", sem_timedwait(&full, &soon), strerrorname_np(errno));
    printf("%d %s\n", sem_trywait(&full), strerrorname_np(errno));
    soon = from_now(CLOCK_MONOTONIC, 20);
    printf("%d %s\n", sem_clockwait(&full, CLOCK_MONOTONIC, &soon), strerrorname_np(errno));
    char name[64];
    snprintf(name, sizeof name, "/emuleak-test-%d", getpid());
    sem_t *named = sem_open(name, O_CREAT | O_EXCL, 0600, 2);
    if (named == SEM_FAILED) {
        perror("sem_open");
        return 1;
    }
    sem_wait(named);
    sem_getvalue(named, &value);
    printf("named %d\n", value);
    sem_close(named);
    return sem_unlink(name);
}
