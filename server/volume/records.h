/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of leases, in the state directory: a small file for each volume that
 * was ever written, named after the volume's identity. Control thread.
 */
#ifndef RDISK_SERVER_VOLUME_RECORDS_H
#define RDISK_SERVER_VOLUME_RECORDS_H

#include "server/volume/lease.h"

struct records {
    struct lease_store store;
    char *path;    /* of the state directory */
    int directory; /* its descriptor; -1: not made yet */
    int lock;      /* that keeps other servers away, or -1 */
};

/* @path: the state directory; NULL or "": .rdisk in @pool, the pool directory,
 * or below /var/lib/rdisk if that is NULL or "" too. 0 or -ENOMEM. */
int records_init(struct records *records, const char *path, const char *pool);
void records_destroy(struct records *records);

/*
 * Make the directory, if it is not there, and keep other servers away from it:
 * -EBUSY if one uses it, after a wait of up to @wait_ms. 0 or a negative errno
 * with @err.
 */
int records_prepare(struct records *records, unsigned int wait_ms,
                    struct rdisk_error *err);
/* The volume was deleted. */
void records_remove(struct records *records, const uint8_t *identity);

#endif
