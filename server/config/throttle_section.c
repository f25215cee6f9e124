/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/config/throttle_section.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/number.h"
#include "common/size.h"
#include "server/config/access.h"

#define WHAT_TEXT (RDISK_VOLUME_NAME_MAX + 24)
#define KEY_TEXT  32

/* Of a kind: its average, its maximum, and the length of that. */
enum part { PART_AVG, PART_MAX, PART_LENGTH, PARTS };

static const char *const kinds[THROTTLE_KINDS] = {
    [THROTTLE_IOPS] = "iops",
    [THROTTLE_IOPS_READ] = "iops-read",
    [THROTTLE_IOPS_WRITE] = "iops-write",
    [THROTTLE_BPS] = "bps",
    [THROTTLE_BPS_READ] = "bps-read",
    [THROTTLE_BPS_WRITE] = "bps-write",
};

static const char *const suffixes[PARTS] = { "", "-max", "-max-length" };

static const struct {
    uint64_t least, most;
} iops_range = { 1, 100000000 },
  /* The largest request takes 16 seconds of the least. */
    bps_range = { 256u << 10, 1ull << 40 }, length_range = { 1, 3600 };

static bool is_bytes(unsigned int kind)
{
    return kind >= THROTTLE_BPS;
}

static uint64_t *part_of(struct throttle_rate *rate, unsigned int part)
{
    return part == PART_AVG   ? &rate->avg
           : part == PART_MAX ? &rate->max
                              : &rate->length;
}

/* ---- Keys ---------------------------------------------------------------- */

static bool find_key(const char *key, unsigned int *kind, unsigned int *part)
{
    for (*kind = 0; *kind < THROTTLE_KINDS; (*kind)++) {
        size_t length = strlen(kinds[*kind]);

        if (strncmp(key, kinds[*kind], length) != 0) {
            continue;
        }
        for (*part = 0; *part < PARTS; (*part)++) {
            if (strcmp(key + length, suffixes[*part]) == 0) {
                return true;
            }
        }
    }
    return false;
}

bool throttle_is_key(const char *key)
{
    unsigned int kind, part;

    return find_key(key, &kind, &part);
}

static int set_part(struct throttle_rate *rate, unsigned int kind,
                    unsigned int part, const char *what, const char *key,
                    const char *value, struct rdisk_error *err)
{
    bool bytes = is_bytes(kind) && part != PART_LENGTH;
    uint64_t least = part == PART_LENGTH ? length_range.least
                     : bytes             ? bps_range.least
                                         : iops_range.least;
    uint64_t most = part == PART_LENGTH ? length_range.most
                    : bytes             ? bps_range.most
                                        : iops_range.most;
    uint64_t number;
    int result = bytes ? size_parse(value, &number)
                       : number_parse(value, 10, &number);
    char from[SIZE_TEXT], to[SIZE_TEXT];

    if (result == 0 && (!number || (number >= least && number <= most))) {
        *part_of(rate, part) = number;
        return 0;
    }
    snprintf(from, sizeof(from), "%" PRIu64, least);
    snprintf(to, sizeof(to), "%" PRIu64, most);
    if (bytes) {
        size_format(least, from, sizeof(from));
        size_format(most, to, sizeof(to));
    }
    return rdisk_error_set(err, -EINVAL,
                           "%s = %s of %s is not between %s and %s, or 0 for "
                           "no limit",
                           key, value, what, from, to);
}

int throttle_values_set(struct throttle_values *values, uint32_t *seen,
                        const char *what, const char *key, const char *value,
                        struct rdisk_error *err)
{
    unsigned int kind, part;
    uint32_t bit;

    if (!find_key(key, &kind, &part)) {
        return rdisk_error_set(err, -EINVAL,
                               "%s has no limit '%.40s': use iops, iops-read, "
                               "iops-write, bps, bps-read or bps-write, each "
                               "also with -max and -max-length",
                               what, key);
    }
    bit = 1u << (kind * PARTS + part);
    if (*seen & bit) {
        return rdisk_error_set(err, -EINVAL, "%s of %s is given twice", key,
                               what);
    }
    *seen |= bit;
    return set_part(&values->rates[kind], kind, part, what, key, value, err);
}

static int needs(unsigned int kind, enum part part, const char *what,
                 struct rdisk_error *err)
{
    char key[KEY_TEXT], needed[KEY_TEXT];

    snprintf(key, sizeof(key), "%s%s", kinds[kind], suffixes[part]);
    snprintf(needed, sizeof(needed), "%s%s", kinds[kind], suffixes[part - 1]);
    return rdisk_error_set(err, -EINVAL, "%s of %s needs %s, too", key, what,
                           needed);
}

int throttle_values_check(const struct throttle_values *values,
                          const char *what, struct rdisk_error *err)
{
    for (unsigned int kind = 0; kind < THROTTLE_KINDS; kind++) {
        const struct throttle_rate *rate = &values->rates[kind];

        if (rate->length && !rate->max) {
            return needs(kind, PART_LENGTH, what, err);
        }
        if (rate->max && !rate->avg) {
            return needs(kind, PART_MAX, what, err);
        }
        if (rate->max && rate->max < rate->avg) {
            return rdisk_error_set(err, -EINVAL,
                                   "%s-max of %s is less than %s: a burst is "
                                   "at least as fast as the limit",
                                   kinds[kind], what, kinds[kind]);
        }
    }
    return 0;
}

/* ---- As text ------------------------------------------------------------- */

static int parse_words(struct throttle_values *values, const char *what,
                       char *text, struct rdisk_error *err)
{
    uint32_t seen = 0;
    char *rest = text, *word;

    while ((word = strtok_r(rest, " ", &rest))) {
        char *value = strchr(word, '=');

        if (!value) {
            return rdisk_error_set(err, -EINVAL,
                                   "'%.40s' is not KEY=VALUE, as in "
                                   "iops=1000",
                                   word);
        }
        *value++ = '\0';
        if (throttle_values_set(values, &seen, what, word, value, err) < 0) {
            return -EINVAL;
        }
    }
    return throttle_values_check(values, what, err);
}

int throttle_values_parse(struct throttle_values *values, const char *what,
                          const char *text, struct rdisk_error *err)
{
    char *copy;
    int result;

    memset(values, 0, sizeof(*values));
    if (strcmp(text, "off") == 0) {
        return 0;
    }
    copy = strdup(text);
    if (!copy) {
        return rdisk_error_set(err, -ENOMEM, "no memory for '%.40s'", text);
    }
    result = parse_words(values, what, copy, err);
    free(copy);
    return result;
}

static size_t format_part(char *text, size_t size, const char *between,
                          unsigned int kind, unsigned int part, uint64_t value)
{
    char number[SIZE_TEXT];

    snprintf(number, sizeof(number), "%" PRIu64, value);
    if (is_bytes(kind) && part != PART_LENGTH) {
        size_format(value, number, sizeof(number));
    }
    return (size_t)snprintf(text, size, "%s%s%s=%s", between, kinds[kind],
                            suffixes[part], number);
}

char *throttle_values_format(const struct throttle_values *values, char *text)
{
    struct throttle_values copy = *values;
    size_t length = 0;

    for (unsigned int kind = 0; kind < THROTTLE_KINDS; kind++) {
        for (unsigned int part = 0; part < PARTS; part++) {
            uint64_t value = *part_of(&copy.rates[kind], part);

            if (value && length < THROTTLE_TEXT) {
                length += format_part(text + length, THROTTLE_TEXT - length,
                                      length ? " " : "", kind, part, value);
            }
        }
    }
    if (!length) {
        snprintf(text, THROTTLE_TEXT, "off");
    }
    return text;
}

/* ---- Sections ------------------------------------------------------------ */

static const char *name_section(const struct throttle_section *section,
                                char *what)
{
    snprintf(what, WHAT_TEXT, "[throttle %s]", section->pattern);
    return what;
}

struct throttle_section *throttle_section_add(
    struct throttle_section **sections, const char *pattern,
    struct rdisk_error *err)
{
    struct throttle_section *section;

    if (!access_pattern_valid(pattern)) {
        rdisk_error_set(err, -EINVAL,
                        "invalid pattern '%.140s' of volumes: use letters, "
                        "digits and . _ - + @ , with a * for any of them",
                        pattern);
        return NULL;
    }
    while (*sections) {
        if (strcmp((*sections)->pattern, pattern) == 0) {
            return *sections;
        }
        sections = &(*sections)->next;
    }
    section = calloc(1, sizeof(*section));
    if (!section || !(section->pattern = strdup(pattern))) {
        free(section);
        rdisk_error_set(err, -ENOMEM, "no memory for [throttle %s]", pattern);
        return NULL;
    }
    *sections = section;
    return section;
}

int throttle_section_set(struct throttle_section *section, const char *key,
                         const char *value, struct rdisk_error *err)
{
    char what[WHAT_TEXT];

    return throttle_values_set(&section->values, &section->seen,
                               name_section(section, what), key, value, err);
}

int throttle_sections_check(const struct throttle_section *sections,
                            struct rdisk_error *err)
{
    char what[WHAT_TEXT];

    for (; sections; sections = sections->next) {
        if (throttle_values_check(&sections->values,
                                  name_section(sections, what), err) < 0) {
            return -EINVAL;
        }
    }
    return 0;
}

struct throttle_values throttle_sections_find(
    const struct throttle_section *sections, const char *volume)
{
    const struct throttle_values none = { 0 };

    while (sections && fnmatch(sections->pattern, volume, 0) != 0) {
        sections = sections->next;
    }
    return sections ? sections->values : none;
}

void throttle_sections_free(struct throttle_section *sections)
{
    while (sections) {
        struct throttle_section *next = sections->next;

        free(sections->pattern);
        free(sections);
        sections = next;
    }
}
