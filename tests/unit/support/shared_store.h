/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Storage that several servers share, in memory: one image, "v", with a lock
 * that can be taken from its owner, and the records of who may write it. Each
 * server's pool is of the class.
 */
#ifndef RDISK_UNIT_SHARED_STORE_H
#define RDISK_UNIT_SHARED_STORE_H

#include "server/backends/backend.h"
#include "server/volume/record_text.h"

struct shared_store {
    const struct backend *locked; /* by this server's instance; NULL: not */
    unsigned int open;            /* instances */
    unsigned int fenced;          /* times that a lock was taken by force */
    uint64_t size;                /* bytes */
    char record[RECORD_MAX];      /* "": none */
};

extern struct shared_store shared_store;
extern const struct backend_class shared_store_class;

#endif
