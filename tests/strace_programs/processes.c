/* A pipeline of two children, a thread, a program that is run; one waits for the other, so that the order is known. */
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *work(void *ends)
{
    write(((int *)ends)[1], "from the thread", 15);
    return NULL;
}

int main(void)
{
    int ends[2], status;
    char buffer[100];
    pthread_t thread;

    pipe(ends);
    if (fork() == 0) {
        close(ends[0]);
        write(ends[1], "from the child", 14);
        _exit(3);
    }
    wait(&status);
    read(ends[0], buffer, 100);
    if (fork() == 0)
        *(volatile int *)8 = 1;
    wait4(-1, &status, 0, NULL);
    pthread_create(&thread, NULL, work, ends);
    pthread_join(thread, NULL);
    read(ends[0], buffer, 100);
    if (vfork() == 0) {
        execl("/bin/true", "true", "an argument", (char *)NULL);
        _exit(9);
    }
    waitpid(-1, &status, 0);
    waitpid(-1, &status, WNOHANG);
    return 0;
}
