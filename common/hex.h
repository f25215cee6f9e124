/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes as lower-case hex digits, without separators. Any thread. */
#ifndef RDISK_COMMON_HEX_H
#define RDISK_COMMON_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters that @count bytes take, with the NUL. */
#define HEX_SIZE(count) (2 * (count) + 1)

/* HEX_SIZE(@count) characters at @text. */
void hex_print(const uint8_t *bytes, size_t count, char *text);
/*
 * Parse the first 2 * @count characters of @text; what follows them is not
 * read. False if one of them is not a lower-case hex digit: @bytes is undefined
 * then.
 */
bool hex_parse(const char *text, uint8_t *bytes, size_t count);

#endif
