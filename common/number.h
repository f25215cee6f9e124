/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers as people write them in files, on command lines and in requests. No
 * sign, no blank, nothing behind the number; sizes are size.h's. Any thread.
 */
#ifndef RDISK_COMMON_NUMBER_H
#define RDISK_COMMON_NUMBER_H

#include <stdint.h>

#include <rdisk/error.h>

/* A whole number in @base, 8 or 10. 0, -EINVAL (not such a number) or -ERANGE
 * (more than 64 bits); then @number is unchanged. */
int number_parse(const char *text, unsigned int base, uint64_t *number);

/* Seconds, with decimals: "2.5"; in milliseconds. 0, -EINVAL or -ERANGE (more
 * than 1e9 seconds). */
int number_parse_time(const char *text, uint64_t *milliseconds);

/*
 * The value of @key, from @min to @max, in @base. 0, or -EINVAL with a sentence
 * that has the key, the value and the range; then @number is unchanged.
 */
int number_set(const char *key, const char *value, unsigned int base,
               uint64_t min, uint64_t max, uint64_t *number,
               struct rdisk_error *err);

#endif
