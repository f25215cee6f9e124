/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/number.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int number_parse(const char *text, unsigned int base, uint64_t *number)
{
    unsigned long long parsed;
    char *end;

    assert(base == 8 || base == 10);
    /* strtoull() alone would take "-1" and " 1". */
    if (!isdigit((unsigned char)text[0])) {
        return -EINVAL;
    }
    errno = 0;
    parsed = strtoull(text, &end, (int)base);
    if (*end) {
        return -EINVAL;
    }
    if (errno) {
        return -ERANGE;
    }
    *number = parsed;
    return 0;
}

int number_parse_time(const char *text, uint64_t *milliseconds)
{
    double seconds;
    char *end;

    /* strtod() would take hexadecimal numbers and exponents. */
    if (!isdigit((unsigned char)text[0]) || strpbrk(text, "xXeEpP")) {
        return -EINVAL;
    }
    seconds = strtod(text, &end);
    if (*end) {
        return -EINVAL;
    }
    if (seconds > 1e9) {
        return -ERANGE;
    }
    *milliseconds = (uint64_t)(seconds * 1000 + 0.5);
    return 0;
}

int number_set(const char *key, const char *value, unsigned int base,
               uint64_t min, uint64_t max, uint64_t *number,
               struct rdisk_error *err)
{
    uint64_t parsed;

    if (number_parse(value, base, &parsed) == 0 && parsed >= min &&
        parsed <= max) {
        *number = parsed;
        return 0;
    }
    if (base == 8) {
        return rdisk_error_set(err, -EINVAL,
                               "%s = %.40s is not an octal number from "
                               "%" PRIo64 " to %" PRIo64,
                               key, value, min, max);
    }
    return rdisk_error_set(err, -EINVAL,
                           "%s = %.40s is not a whole number from %" PRIu64
                           " to %" PRIu64,
                           key, value, min, max);
}
