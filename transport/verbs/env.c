/* SPDX-License-Identifier: BSD-3-Clause */
#include <rdisk/env.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include <rdisk/stopwatch.h>
#include "transport/verbs/verbs.h"

static uint64_t system_now(void *opaque)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static uint64_t system_stopwatch(void *opaque)
{
    return rdisk_stopwatch_system();
}

static void system_random(void *opaque, void *buf, size_t size)
{
    uint8_t *p = buf;

    while (size > 0) {
        ssize_t n = getrandom(p, size, 0);

        if (n < 0) {
            /* Only EINTR can happen here; weak tokens must never go out. */
            continue;
        }
        p += n;
        size -= (size_t)n;
    }
}

static void system_log(void *opaque, enum rdisk_log_level level,
                       const char *line)
{
    if (level <= RDISK_LOG_WARNING) {
        fprintf(stderr, "rdisk: %s\n", line);
    }
}

const struct rdisk_env rdisk_env_system = {
    .verbs = &rdisk_verbs_system,
    .now = system_now,
    .clock = CLOCK_MONOTONIC,
    .stopwatch = system_stopwatch,
    .random = system_random,
    .log = system_log,
};

void rdisk_log(const struct rdisk_env *env, enum rdisk_log_level level,
               const char *format, ...)
{
    char line[512];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    env->log(env->opaque, level, line);
}
