/* SPDX-License-Identifier: BSD-3-Clause */
/* Many requests to a volume at a time: for bench, import and export. */
#ifndef TOOLS_PUMP_H
#define TOOLS_PUMP_H

#include "tools/remote.h"

struct pump;

/* A request, its buffer, and when it was submitted. */
struct pump_slot {
    struct rdisk_request request;
    struct pump *pump;
    struct iovec iov;
    uint64_t began; /* rdisk_now() */
    struct pump_slot *next;
};

/*
 * Fills op, offset and length of @slot's request, and of a WRITE the buffer.
 * 1, 0 if there are no more requests, or a negative errno with pump->error.
 */
typedef int pump_next_fn(struct pump *pump, struct pump_slot *slot);
/* It has succeeded. 0, or a negative errno with pump->error. */
typedef int pump_done_fn(struct pump *pump, struct pump_slot *slot);

struct pump {
    struct remote *remote; /* open */
    unsigned int depth;    /* requests at a time */
    uint32_t block;        /* bytes of a buffer */
    pump_next_fn *next;
    pump_done_fn *done;
    /* Zeroes that the storage cannot make without being sent: the buffer is
     * zero, and goes out as a WRITE. NULL: that is an error. */
    void (*no_zeroes)(struct pump *pump);
    void (*tick)(struct pump *pump); /* about every 100 ms; NULL: never */
    struct rdisk_error error;        /* its sentence, or "" */

    /* pump.c's. */
    struct pump_slot *slots, *idle;
    char *memory;
    unsigned int in_flight;
    bool exhausted;
    int result;
};

/*
 * Until there are no more requests and all have ended. 0, or the first error,
 * after which nothing is submitted; its sentence is in remote->error, for
 * remote_close().
 */
int pump_run(struct pump *pump);

/* FLUSH, and wait for it. The same. */
int pump_flush(struct remote *remote);

#endif
