/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long things took, counted in buckets that grow by a quarter of a power
 * of two: so a percentile is right to 25 %, from microseconds to a minute,
 * for a few hundred bytes and two additions per request.
 */
#ifndef RDISK_HISTOGRAM_H
#define RDISK_HISTOGRAM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RDISK_HISTOGRAM_UNIT    256u /* nanoseconds */
#define RDISK_HISTOGRAM_BUCKETS 112u /* the last one: 128 s and more */

/* Where @nanoseconds are counted: 4 buckets for each power of two. */
static inline unsigned int rdisk_histogram_bucket(uint64_t nanoseconds)
{
    uint64_t units = nanoseconds / RDISK_HISTOGRAM_UNIT;
    unsigned int power, bucket;

    if (units < 4) {
        return (unsigned int)units;
    }
    power = 63 - (unsigned int)__builtin_clzll(units);
    bucket = 4 * (power - 1) + (unsigned int)(units >> (power - 2) & 3);
    return bucket < RDISK_HISTOGRAM_BUCKETS ? bucket
                                            : RDISK_HISTOGRAM_BUCKETS - 1;
}

/* The least time, in nanoseconds, that is beyond @bucket. */
static inline uint64_t rdisk_histogram_limit(unsigned int bucket)
{
    unsigned int next = bucket + 1;

    return RDISK_HISTOGRAM_UNIT *
           (next < 4 ? next : (4 + (uint64_t)(next & 3)) << (next / 4 - 1));
}

/* The time, in nanoseconds, that @part of those counted (0…1) stayed below;
 * 0 if there are none. */
uint64_t rdisk_histogram_percentile(
    const uint64_t count[RDISK_HISTOGRAM_BUCKETS], double part);

#ifdef __cplusplus
}
#endif

#endif
