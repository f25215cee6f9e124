/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of leases beside the volumes, where several servers may access them:
 * a text for each volume in the place that is the pool, changed by
 * compare-and-swap. A server that changes a record has its volume exclusively
 * (class->lock), so two of them change one at the same time only if one of them
 * has lost the volume and has not detected it: that one gets -EBUSY.
 */
#ifndef RDISK_SERVER_VOLUME_SHARED_RECORDS_H
#define RDISK_SERVER_VOLUME_SHARED_RECORDS_H

#include "server/volume/pool.h"

/* Fill @store with functions on @pool's place, which both outlive. */
void shared_records_init(struct lease_store *store, struct pool *pool);

#endif
