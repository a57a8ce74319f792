/* Shared mappings, private ones, process-shared semaphores and mutexes, memory from files, brk. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct area {
    sem_t ping, pong;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int turn, count;
    char text[8192];
};

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    struct area *area = mmap(NULL, sizeof *area, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *mine = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *untouched = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600), memory = memfd_create("m", 0);
    ftruncate(fd, 8192);
    ftruncate(memory, 8192);
    char *file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *mem = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    strcpy(area->text, "before");
    strcpy(mine, "mine");
    file[0] = 'a';
    sem_init(&area->ping, 1, 0);
    sem_init(&area->pong, 1, 0);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&area->mutex, &attributes);
    pthread_condattr_t how;
    pthread_condattr_init(&how);
    pthread_condattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&area->cond, &how);
    void *edge = sbrk(4096);
    strcpy(edge, "brk");

    if (fork() == 0) {
        strcpy(area->text + 5000, "child was here");
        strcpy(mine, "changed");
        strcpy(edge, "no");
        sbrk(8192);
        strcpy(untouched + 70000, "deep");
        file[1] = 'b';
        file[5000] = 'c';
        mem[100] = 'm';
        sem_post(&area->ping);
        sem_wait(&area->pong);
        printf("child: %s\n", area->text);
        if (fork() == 0) {
            area->text[0] = 'G';
            _exit(0);
        }
        wait(NULL);
        for (int i = 0; i < 100; i++) {
            pthread_mutex_lock(&area->mutex);
            while (area->turn != 1)
                pthread_cond_wait(&area->cond, &area->mutex);
            area->count++;
            area->turn = 0;
            pthread_cond_signal(&area->cond);
            pthread_mutex_unlock(&area->mutex);
        }
        munmap(area, sizeof *area);
        _exit(0);
    }
    sem_wait(&area->ping);
    printf("parent: %s, %s, %s, %s\n", area->text + 5000, mine, (char *)edge, untouched + 70000);
    printf("file: %c%c%c mem %c\n", file[0], file[1], file[5000], mem[100]);
    char raw[2];
    pread(fd, raw, 2, 0);
    printf("raw: %.2s\n", raw);
    strcpy(area->text, "hello from parent");
    sem_post(&area->pong);
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&area->mutex);
        while (area->turn != 0)
            pthread_cond_wait(&area->cond, &area->mutex);
        area->count++;
        area->turn = 1;
        pthread_cond_signal(&area->cond);
        pthread_mutex_unlock(&area->mutex);
    }
    wait(NULL);
    printf("count %d text %s\n", area->count, area->text);
    mprotect(area, 4096, PROT_READ);
    printf("protected %d\n", area->count);
    return 0;
}
