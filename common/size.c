/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/size.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char units[] = "kMGTPE";

static uint64_t power(uint64_t base, size_t exponent)
{
    uint64_t result = 1;

    while (exponent--) {
        result *= base;
    }
    return result;
}

int size_parse(const char *text, uint64_t *bytes)
{
    unsigned long long number;
    uint64_t unit = 1;
    char *end;

    /* strtoull() alone would take "-1" and " 1". */
    if (!isdigit((unsigned char)text[0])) {
        return -EINVAL;
    }
    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno) {
        return -ERANGE;
    }
    for (size_t i = 0; *end && i < sizeof(units) - 1; i++) {
        if (tolower((unsigned char)*end) == tolower(units[i])) {
            unit = power(strcasecmp(++end, "B") == 0 ? 1000 : 1024, i + 1);
            end += strcasecmp(end, "iB") == 0 ? 2 : strcasecmp(end, "B") == 0;
            break;
        }
    }
    if (*end) {
        return -EINVAL;
    }
    if (number > UINT64_MAX / unit) {
        return -ERANGE;
    }
    *bytes = (uint64_t)number * unit;
    return 0;
}

char *size_format(uint64_t bytes, char *text, size_t length)
{
    char suffix[2] = "";

    for (size_t i = 0; bytes && bytes % 1024 == 0 && units[i]; i++) {
        bytes /= 1024;
        suffix[0] = units[i];
    }
    snprintf(text, length, "%" PRIu64 "%s", bytes, suffix);
    return text;
}

char *size_round(uint64_t bytes, char *text, size_t length)
{
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && units[unit]) {
        value /= 1024;
        unit++;
    }
    snprintf(text, length, unit ? "%.4g%.1s" : "%.0f", value,
             unit ? &units[unit - 1] : "");
    return text;
}
