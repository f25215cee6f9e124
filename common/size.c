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

int size_parse(const char *text, uint64_t *bytes)
{
    unsigned long long number;
    unsigned int shift = 0;
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
            shift = 10 * (i + 1);
            end++;
            if (strcasecmp(end, "iB") == 0) {
                end += 2;
            }
            break;
        }
    }
    if (*end) {
        return -EINVAL;
    }
    if (number > UINT64_MAX >> shift) {
        return -ERANGE;
    }
    *bytes = (uint64_t)number << shift;
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
