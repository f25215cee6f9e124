/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many requests and bytes a volume, or a client, may have in a second: keys
 * of [client NAME], and of [throttle PATTERN], which is for each volume whose
 * name matches.
 */
#ifndef RDISK_SERVER_CONFIG_THROTTLE_SECTION_H
#define RDISK_SERVER_CONFIG_THROTTLE_SECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rdisk/error.h>

enum throttle_kind {
    THROTTLE_IOPS, /* requests a second */
    THROTTLE_IOPS_READ,
    THROTTLE_IOPS_WRITE, /* all but reads and extents */
    THROTTLE_BPS,        /* bytes a second */
    THROTTLE_BPS_READ,
    THROTTLE_BPS_WRITE,
    THROTTLE_KINDS
};

/* Requests or bytes a second; 0: no limit. */
struct throttle_rate {
    uint64_t avg;    /* that it comes to in the end */
    uint64_t max;    /* that it may reach for a while; 0: none */
    uint64_t length; /* of that while, seconds; 0: 1 */
};

struct throttle_values {
    struct throttle_rate rates[THROTTLE_KINDS];
};

/* A [throttle PATTERN] section. */
struct throttle_section {
    struct throttle_section *next;
    char *pattern;
    struct throttle_values values;
    uint32_t seen; /* keys given, bit by bit */
};

/* Text that has all of it. */
#define THROTTLE_TEXT 1024

/* True if @key is one of a throttle. */
bool throttle_is_key(const char *key);
/* One key of @what ("client 'a'"). 0 or -EINVAL with @err, also if @seen has
 * the key already. */
int throttle_values_set(struct throttle_values *values, uint32_t *seen,
                        const char *what, const char *key, const char *value,
                        struct rdisk_error *err);
/* Check that they are compatible: 0 or -EINVAL with @err. */
int throttle_values_check(const struct throttle_values *values,
                          const char *what, struct rdisk_error *err);
/* "iops=1000 bps=10M", of @what; "off": no limit. 0 or -EINVAL with @err. */
int throttle_values_parse(struct throttle_values *values, const char *what,
                          const char *text, struct rdisk_error *err);
/* The same, or "off"; returns @text, of THROTTLE_TEXT bytes. */
char *throttle_values_format(const struct throttle_values *values, char *text);

/* The section for @pattern, made if there is none. NULL: @err. */
struct throttle_section *throttle_section_add(
    struct throttle_section **sections, const char *pattern,
    struct rdisk_error *err);
int throttle_section_set(struct throttle_section *section, const char *key,
                         const char *value, struct rdisk_error *err);
int throttle_sections_check(const struct throttle_section *sections,
                            struct rdisk_error *err);
/* The values of the first section that matches; all zero if none does. */
struct throttle_values throttle_sections_find(
    const struct throttle_section *sections, const char *volume);
void throttle_sections_free(struct throttle_section *sections);

#endif
