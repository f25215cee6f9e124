/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes as people write them. */
#ifndef RDISK_COMMON_SIZE_H
#define RDISK_COMMON_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* "512", "64k", "10G", "1TiB": powers of 1024; "10GB": of 1000. 0, or
 * -EINVAL (no size) or -ERANGE (more than 64 bits). */
int size_parse(const char *text, uint64_t *bytes);

/* The shortest exact way to write it, e.g. "64M", "1000"; returns @text. */
char *size_format(uint64_t bytes, char *text, size_t length);

/* The same, rounded: four digits at most, e.g. "1.5G"; returns @text. */
char *size_round(uint64_t bytes, char *text, size_t length);

#define SIZE_TEXT 24

#endif
