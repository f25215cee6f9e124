/* SPDX-License-Identifier: BSD-3-Clause */
/* What the clients of the bench measure, and the line they print. */
#ifndef BENCH_RESULT_H
#define BENCH_RESULT_H

#include <stdint.h>
#include <sys/resource.h>

struct result {
    uint32_t *times; /* ns of each request, in order of its end */
    uint64_t count, capacity;
    uint64_t start;      /* result_now() */
    struct rusage usage; /* at the start */
};

/* Monotonic, in nanoseconds. */
uint64_t result_now(void);

/* Exits with a sentence when there is no memory. The clock starts here. */
void result_begin(struct result *result, uint64_t capacity);
void result_add(struct result *result, uint64_t nanoseconds);
/* For the timeline, if the probe is there: 's' for submit; result_add() does
 * it when a request is done. */
void result_stamp(char what);
/*
 * One line of name=value: seconds, ios, p50, p99, p999 and max in us, CPU time
 * of this process in us, its voluntary and involuntary context switches.
 * Frees the times.
 */
void result_print(struct result *result);

/* A size or count with an optional k or M; exits with a sentence. */
uint64_t parse_number(const char *option, const char *text, uint64_t min,
                      uint64_t max);

#endif
