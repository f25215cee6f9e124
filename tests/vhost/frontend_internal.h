/* SPDX-License-Identifier: BSD-3-Clause */
/* What frontend.c, the connection, and ring.c, the virtqueue, share. */
#ifndef TESTS_VHOST_FRONTEND_INTERNAL_H
#define TESTS_VHOST_FRONTEND_INTERNAL_H

#include "tests/vhost/frontend.h"

/* Places in the guest's memory; the ring is at 0. */
#define REQUESTS_AT 16384u /* in the memory, behind the ring */
#define INDIRECT_AT 24576u
#define DATA_AT     32768u
#define MORE_AT     (1ull << 32) /* address of what is plugged in */

/* Print a sentence and exit. */
void frontend_die(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));
/* The daemon has gone: wait for the next one. */
void frontend_reconnect(struct frontend *frontend);

static inline struct vring_avail *available(struct frontend *frontend)
{
    return (void *)(frontend->memory +
                    FRONTEND_RING * sizeof(struct vring_desc));
}

static inline struct vring_used *used(struct frontend *frontend)
{
    return (void *)(frontend->memory + 8192);
}

#endif
