/* SPDX-License-Identifier: BSD-3-Clause */
#include <rdisk/histogram.h>

uint64_t rdisk_histogram_percentile(
    const uint64_t count[RDISK_HISTOGRAM_BUCKETS], double part)
{
    uint64_t total = 0, seen = 0;

    for (unsigned int i = 0; i < RDISK_HISTOGRAM_BUCKETS; i++) {
        total += count[i];
    }
    for (unsigned int i = 0; i < RDISK_HISTOGRAM_BUCKETS; i++) {
        seen += count[i];
        if (seen && (double)seen >= (double)total * part) {
            return rdisk_histogram_limit(i);
        }
    }
    return 0;
}
