/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/table.h"

#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>

struct table {
    struct libscols_table *table;
    size_t columns;
};

static void out_of_memory(void)
{
    fprintf(stderr, "rdisk: no memory for a table\n");
    exit(EXIT_FAILURE);
}

struct table *table_new(const struct table_column *columns, size_t count)
{
    static const int flags[] = {
        [TABLE_LEFT] = 0,
        [TABLE_RIGHT] = SCOLS_FL_RIGHT,
        [TABLE_NAME] = SCOLS_FL_TRUNC,
    };
    struct table *table = calloc(1, sizeof(*table));

    if (!table || !(table->table = scols_new_table())) {
        out_of_memory();
    }
    table->columns = count;
    for (size_t i = 0; i < count; i++) {
        if (!scols_table_new_column(table->table, columns[i].name, 0,
                                    flags[columns[i].kind])) {
            out_of_memory();
        }
    }
    return table;
}

void table_row(struct table *table, const char *const *cells)
{
    struct libscols_line *line = scols_table_new_line(table->table, NULL);

    for (size_t i = 0; i < table->columns; i++) {
        if (!line || scols_line_set_data(line, i, cells[i])) {
            out_of_memory();
        }
    }
}

void table_print(struct table *table, size_t width)
{
    if (width) {
        scols_table_set_termforce(table->table, SCOLS_TERMFORCE_ALWAYS);
        scols_table_set_termwidth(table->table, width);
    }
    scols_print_table(table->table);
    scols_unref_table(table->table);
    free(table);
}
