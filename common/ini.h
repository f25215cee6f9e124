/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of [sections] with key = value lines. A ; or # begins a comment at the
 * start of a line, behind a blank, or behind a quoted value. Keys and values
 * have no blanks around them. A value in double quotes is taken as it is
 * between them, but for \" and \\, which are " and \. A line may be long: a
 * list of volumes is one value.
 *
 * Any thread.
 */
#ifndef RDISK_COMMON_INI_H
#define RDISK_COMMON_INI_H

#include <rdisk/error.h>

#define INI_LINE_MAX 65536u /* bytes of a line, without its newline */

struct ini_handler {
    /* A section begins. 0 or a negative errno with @err filled. */
    int (*section)(void *opaque, const char *section, struct rdisk_error *err);
    /* A key of it; @section is "" before the first one. The same. */
    int (*key)(void *opaque, const char *section, const char *key,
               const char *value, struct rdisk_error *err);
};

/*
 * Read the file to its end or to the first error, whose sentence then names
 * the file and the line.
 */
int ini_read(const char *path, const struct ini_handler *handler, void *opaque,
             struct rdisk_error *err);

#endif
