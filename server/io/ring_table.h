/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors and memory registered with a ring, so that the kernel need
 * not look up or pin them for each request. Reactor thread.
 */
#ifndef RDISK_SERVER_IO_RING_TABLE_H
#define RDISK_SERVER_IO_RING_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "server/io/ring.h"

/* A sparse table and which of its places are taken. */
struct ring_places {
    unsigned int size; /* 0: the kernel has no such table */
    unsigned int hint; /* the place to try first */
    bool *used;
};

struct ring_table {
    struct ring *ring;
    struct ring_places files;
    struct ring_places buffers;
    bool warned;
};

/* Of @ring, which is set up; it may turn out to have none. */
void ring_table_init(struct ring_table *table, struct ring *ring);
void ring_table_free(struct ring_table *table);

/* Returns the index, or -1: full, or refused; then use the descriptor or the
 * memory as it is. */
int ring_table_add_file(struct ring_table *table, int fd);
void ring_table_remove_file(struct ring_table *table, int index);
int ring_table_add_buffer(struct ring_table *table, void *address,
                          size_t length);
void ring_table_remove_buffer(struct ring_table *table, int index);

#endif
