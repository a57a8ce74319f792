/* What every program here needs: a call that must succeed, and errors by name. */
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MUST(call)                                                                    \
    do {                                                                              \
        int failed_ = (call);                                                         \
        if (failed_) {                                                                \
            printf("line %d: %s: %s\n", __LINE__, #call, strerrorname_np(failed_));   \
            exit(1);                                                                  \
        }                                                                             \
    } while (0)
#define SHOW(call)                                                                    \
    do {                                                                              \
        int got_ = (call);                                                            \
        printf("%s: %s\n", #call, got_ ? strerrorname_np(got_) : "ok");               \
    } while (0)

static inline struct timespec from_now(clockid_t clock, long milliseconds) {
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_sec += milliseconds / 1000;
    t.tv_nsec += milliseconds % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}
