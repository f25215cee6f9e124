/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/io/ring_table.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* Volumes, and queues, of one reactor that get the fast path. */
#define FILES   1024
#define BUFFERS 4096
/* A limit of io_uring for one registered buffer. */
#define BUFFER_SIZE_MAX (1ull << 30)

/* ---- Places ----------------------------------------------------------- */

static void places_init(struct ring_places *places, unsigned int size,
                        int result)
{
    places->used = result < 0 ? NULL : calloc(size, sizeof(places->used[0]));
    places->size = places->used ? size : 0;
    places->hint = 0;
}

static int places_take(struct ring_places *places)
{
    for (unsigned int i = 0; i < places->size; i++) {
        unsigned int index = (places->hint + i) % places->size;

        if (!places->used[index]) {
            places->used[index] = true;
            places->hint = index + 1;
            return index;
        }
    }
    return -1;
}

static void places_give(struct ring_places *places, int index)
{
    places->used[index] = false;
    places->hint = index;
}

/* ---- The tables ------------------------------------------------------- */

void ring_table_init(struct ring_table *table, struct ring *ring)
{
    table->ring = ring;
    table->warned = false;
    places_init(&table->files, FILES,
                io_uring_register_files_sparse(&ring->uring, FILES));
    places_init(&table->buffers, BUFFERS,
                io_uring_register_buffers_sparse(&ring->uring, BUFFERS));
}

void ring_table_free(struct ring_table *table)
{
    free(table->files.used);
    free(table->buffers.used);
}

/* ---- Files ------------------------------------------------------------ */

static int file_update(struct ring_table *table, int index, int fd)
{
    return io_uring_register_files_update(&table->ring->uring, index, &fd, 1);
}

int ring_table_add_file(struct ring_table *table, int fd)
{
    int index = places_take(&table->files);

    if (index >= 0 && file_update(table, index, fd) != 1) {
        places_give(&table->files, index);
        return -1;
    }
    return index;
}

void ring_table_remove_file(struct ring_table *table, int index)
{
    if (index >= 0) {
        file_update(table, index, -1);
        places_give(&table->files, index);
    }
}

/* ---- Memory ----------------------------------------------------------- */

static int buffer_update(struct ring_table *table, int index, void *address,
                         size_t length)
{
    struct iovec iov = { .iov_base = address, .iov_len = length };
    __u64 tag = 0;

    return io_uring_register_buffers_update_tag(&table->ring->uring, index,
                                                &iov, &tag, 1);
}

static void warn(struct ring_table *table, size_t length, int result)
{
    if (!table->warned) {
        table->warned = true;
        log_warning("cannot register %zu bytes of slots with io_uring (%s): "
                    "each request pins its pages; with a limit on locked "
                    "memory, raise it (LimitMEMLOCK=infinity, or ulimit -l "
                    "unlimited)",
                    length, strerror(-result));
    }
}

int ring_table_add_buffer(struct ring_table *table, void *address,
                          size_t length)
{
    int index, result;

    index = length <= BUFFER_SIZE_MAX ? places_take(&table->buffers) : -1;
    if (index < 0) {
        return -1;
    }
    result = buffer_update(table, index, address, length);
    if (result != 1) {
        places_give(&table->buffers, index);
        warn(table, length, result);
        return -1;
    }
    return index;
}

void ring_table_remove_buffer(struct ring_table *table, int index)
{
    if (index >= 0) {
        buffer_update(table, index, NULL, 0);
        places_give(&table->buffers, index);
    }
}
