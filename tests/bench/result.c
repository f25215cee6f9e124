/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/result.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t result_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void result_begin(struct result *result, uint64_t capacity)
{
    memset(result, 0, sizeof(*result));
    result->capacity = capacity;
    result->times = malloc(capacity * sizeof(result->times[0]));
    if (!result->times) {
        fprintf(stderr, "no memory for the times of %" PRIu64 " requests\n",
                capacity);
        exit(1);
    }
    /* Touched now, so that no page fault falls into the measured time. */
    memset(result->times, 1, capacity * sizeof(result->times[0]));
    getrusage(RUSAGE_SELF, &result->usage);
    result->start = result_now();
}

void result_add(struct result *result, uint64_t nanoseconds)
{
    result_stamp('d');
    if (result->count < result->capacity) {
        result->times[result->count++] = nanoseconds < UINT32_MAX
                                             ? (uint32_t)nanoseconds
                                             : UINT32_MAX;
    }
}

void result_stamp(char what)
{
    static void (*stamp)(char what);
    static bool looked;

    if (!looked) {
        *(void **)&stamp = dlsym(RTLD_DEFAULT, "probe_stamp");
        looked = true;
    }
    if (stamp) {
        stamp(what);
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Nearest rank, in microseconds. */
static double quantile(const struct result *result, double share)
{
    uint64_t rank = (uint64_t)(share * (double)result->count);

    if (result->count == 0) {
        return 0;
    }
    rank = rank < result->count ? rank : result->count - 1;
    return result->times[rank] / 1e3;
}

static double microseconds(struct timeval later, struct timeval earlier)
{
    return (double)(later.tv_sec - earlier.tv_sec) * 1e6 +
           (double)(later.tv_usec - earlier.tv_usec);
}

void result_print(struct result *result)
{
    double seconds = (double)(result_now() - result->start) / 1e9;
    const struct rusage *before = &result->usage;
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    qsort(result->times, result->count, sizeof(result->times[0]), compare);
    printf("seconds=%.6f ios=%" PRIu64 " p50=%.1f p99=%.1f p999=%.1f "
           "max=%.1f cpu=%.0f switches=%ld forced=%ld\n",
           seconds, result->count, quantile(result, 0.5),
           quantile(result, 0.99), quantile(result, 0.999), quantile(result, 1),
           microseconds(usage.ru_utime, before->ru_utime) +
               microseconds(usage.ru_stime, before->ru_stime),
           usage.ru_nvcsw - before->ru_nvcsw,
           usage.ru_nivcsw - before->ru_nivcsw);
    free(result->times);
    result->times = NULL;
}

uint64_t parse_number(const char *option, const char *text, uint64_t min,
                      uint64_t max)
{
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (end != text && (*end == 'k' || *end == 'M')) {
        value <<= *end++ == 'k' ? 10 : 20;
    }
    if (end == text || *end || errno || value < min || value > max) {
        fprintf(stderr,
                "%s takes a number from %" PRIu64 " to %" PRIu64 ", not '%s'\n",
                option, min, max, text);
        exit(2);
    }
    return value;
}
