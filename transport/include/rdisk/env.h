/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The outside world as the transport sees it: verbs, time, randomness, log.
 *
 * Sessions and queues take everything that is not a pure computation through
 * this structure, so that a test or a simulator can put a fake device, virtual
 * time and a seeded generator behind the same code that runs in production.
 */
#ifndef RDISK_ENV_H
#define RDISK_ENV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rdisk_verbs;

enum rdisk_log_level {
    RDISK_LOG_ERROR,   /* an I/O or a session failed */
    RDISK_LOG_WARNING, /* works, but not as it was meant to */
    RDISK_LOG_INFO,    /* sessions come and go */
    RDISK_LOG_DEBUG,   /* each step of a connection */
};

struct rdisk_env {
    const struct rdisk_verbs *verbs;
    /* Monotonic time in nanoseconds. Any thread. */
    uint64_t (*now)(void *opaque);
    /* Which of the kernel's clocks that is, CLOCK_MONOTONIC say: deadlines then
     * make a session's descriptor readable. 0: none, a virtual one. */
    int clock;
    /* Nanoseconds since an arbitrary time, cheaper than now(): only for how
     * long something took, with rdisk_took(). Any thread. */
    uint64_t (*stopwatch)(void *opaque);
    /* Fill @buf with unpredictable bytes. Any thread. */
    void (*random)(void *opaque, void *buf, size_t size);
    /* One line without a newline. Any thread. */
    void (*log)(void *opaque, enum rdisk_log_level level, const char *line);
    void *opaque;
};

/*
 * What production uses: the system's verbs, CLOCK_MONOTONIC, the processor's
 * counter (stopwatch.h), getrandom(2), and warnings and errors to stderr.
 */
extern const struct rdisk_env rdisk_env_system;

static inline uint64_t rdisk_now(const struct rdisk_env *env)
{
    return env->now(env->opaque);
}

static inline uint64_t rdisk_stopwatch(const struct rdisk_env *env)
{
    return env->stopwatch(env->opaque);
}

/* From one reading of the stopwatch to a later one. */
static inline uint64_t rdisk_took(uint64_t from, uint64_t to)
{
    return to > from ? to - from : 0;
}

void rdisk_log(const struct rdisk_env *env, enum rdisk_log_level level,
               const char *format, ...) __attribute__((format(printf, 3, 4)));

#define RDISK_MSEC  1000000ull /* nanoseconds */
#define RDISK_NEVER UINT64_MAX /* a deadline that does not come */

#ifdef __cplusplus
}
#endif

#endif
