/* vfork, execve and its failures, posix_spawn with file actions and attributes, system, popen. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void script(const char *name, const char *text, int mode)
{
    FILE *file = fopen(name, "w");
    fputs(text, file);
    fclose(file);
    chmod(name, (mode_t)mode);
}

static void try_exec(const char *what, const char *path)
{
    char *argv[] = {"zero", "one", "two words", NULL};
    char *envp[] = {"NAME=value", "odd", NULL};
    int status;
    fflush(stdout);
    if (fork() == 0) {
        execve(path, argv, envp);
        printf("%s: %s\n", what, strerror(errno));
        exit(99);
    }
    wait(&status);
    printf("%s: status %d\n", what, WEXITSTATUS(status));
}

static void spawned(void)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char *argv[] = {"sh", "-c", "cat; echo $1 $(pwd) >&2; kill -USR1 $$; exit 4", "sh", "arg", NULL};
    pid_t child;
    int status;
    sigset_t set;
    script("input", "from a file\n", 0644);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "input", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "output", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    posix_spawnattr_init(&attributes);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    posix_spawnattr_setsigmask(&attributes, &set);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    int result = posix_spawn(&child, "/bin/sh", &actions, &attributes, argv, environ);
    waitpid(child, &status, 0);
    printf("spawned %d status %d\n", result, WEXITSTATUS(status));
    char line[100];
    FILE *file = fopen("output", "r");
    while (fgets(line, sizeof line, file))
        printf("output: %s", line);
    fclose(file);
    printf("missing: %s\n", strerror(posix_spawn(&child, "/no/such", NULL, NULL, argv, environ)));
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
}

int main(void)
{
    int status;
    volatile int shared = 1;
    pid_t child = vfork();
    if (child == 0) {
        shared = 2;
        _exit(5);
    }
    waitpid(child, &status, 0);
    printf("vfork: shared %d status %d\n", shared, WEXITSTATUS(status));
    child = vfork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "exit 6", (char *)NULL);
        _exit(127);
    }
    waitpid(child, &status, 0);
    printf("vfork+exec: %d\n", WEXITSTATUS(status));

    script("good.sh", "#!/bin/sh\necho \"script $0 $# $2 $NAME\"\nexit 7\n", 0755);
    script("flag.sh", "#! /bin/sh -e\nfalse\necho not reached\n", 0755);
    script("nested.sh", "#!./good.sh x\n", 0755);
    script("plain", "echo no\n", 0755);
    script("noexec.sh", "#!/bin/sh\n", 0644);
    script("lost.sh", "#!/no/interpreter\n", 0755);
    script("empty", "", 0755);
    script("loop.sh", "#!./loop.sh\n", 0755);
    mkdir("dir", 0755);
    try_exec("script", "./good.sh");
    try_exec("flag", "./flag.sh");
    try_exec("nested", "./nested.sh");
    try_exec("no #!", "./plain");
    try_exec("not executable", "./noexec.sh");
    try_exec("interpreter", "./lost.sh");
    try_exec("empty", "./empty");
    try_exec("loop", "./loop.sh");
    try_exec("directory", "./dir");
    try_exec("missing", "./missing");
    try_exec("component", "./good.sh/x");
    try_exec("env", "/usr/bin/env");
    spawned();

    fflush(stdout);
    printf("system %d\n", WEXITSTATUS(system("echo from system; exit 8")));
    printf("available %d\n", system(NULL) != 0);
    FILE *pipe = popen("echo one; echo two; exit 3", "r");
    char line[100];
    while (fgets(line, sizeof line, pipe))
        printf("popen: %s", line);
    printf("pclose %d\n", WEXITSTATUS(pclose(pipe)));
    fflush(stdout);
    pipe = popen("tr a-z A-Z", "w");
    fputs("shout\n", pipe);
    printf("pclose %d\n", pclose(pipe));

    int fd = open("input", O_RDONLY | O_CLOEXEC), kept = open("input", O_RDONLY);
    char command[200];
    snprintf(command, sizeof command, "test -e /proc/self/fd/%d && echo leaked; read x <&%d; echo \"$x\"", fd, kept);
    fflush(stdout);
    system(command);
    read(kept, line, 4);
    printf("shared offset: %ld\n", (long)lseek(kept, 0, SEEK_CUR));
    fflush(stdout);
    execl("/bin/sh", "sh", "-c", "echo replaced; exit 11", (char *)NULL);
    return 1;
}
