/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the transport: registered memory for requests on buffers that
 * are not. Cut into chunks of RDISK_BOUNCE_CHUNK; a request takes as many as
 * its length needs, wherever they lie. Queue's thread only.
 */
#ifndef RDISK_INITIATOR_BOUNCE_H
#define RDISK_INITIATOR_BOUNCE_H

#include <sys/uio.h>

#include "transport/initiator/options.h"
#include "transport/verbs/verbs.h"

struct rdisk_bounce {
    const struct rdisk_verbs *verbs;
    uint8_t *memory;
    struct ibv_mr *mr;
    uint16_t *next; /* free list and requests' lists, by chunk */
    uint16_t free_first;
    unsigned int free_count;
    unsigned int chunks;
};

int rdisk_bounce_create(struct rdisk_bounce *bounce,
                        const struct rdisk_verbs *verbs, struct ibv_pd *pd,
                        size_t size, struct rdisk_error *err);
void rdisk_bounce_destroy(struct rdisk_bounce *bounce);

/* Chunks for @length bytes; false if not enough are free. */
bool rdisk_bounce_acquire(struct rdisk_bounce *bounce, size_t length,
                          uint16_t *first, uint16_t *count);
void rdisk_bounce_release(struct rdisk_bounce *bounce, uint16_t first,
                          uint16_t count);

static inline void *rdisk_bounce_chunk(const struct rdisk_bounce *bounce,
                                       uint16_t chunk)
{
    return bounce->memory + (size_t)chunk * RDISK_BOUNCE_CHUNK;
}

/* Copy a request's bytes between its iovecs and its chunks. */
void rdisk_bounce_copy_in(struct rdisk_bounce *bounce, uint16_t first,
                          const struct iovec *iov, unsigned int iovcnt);
void rdisk_bounce_copy_out(struct rdisk_bounce *bounce, uint16_t first,
                           const struct iovec *iov, unsigned int iovcnt);

#endif
