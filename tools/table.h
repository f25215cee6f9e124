/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables for people, as wide as the terminal. */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include <stddef.h>

struct table;

struct table_column {
    const char *name;
    enum {
        TABLE_LEFT,
        TABLE_RIGHT, /* numbers */
        TABLE_NAME,  /* left, and shortened where there is no room */
    } kind;
};

/* @columns stay the caller's. Ends the program where there is no memory. */
struct table *table_new(const struct table_column *columns, size_t count);
/* A cell for each column; copied. */
void table_row(struct table *table, const char *const *cells);
/* In at most @width columns; 0: those of the terminal, or all that is needed
 * where standard output is none. Frees it. */
void table_print(struct table *table, size_t width);

#endif
