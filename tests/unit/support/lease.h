/* SPDX-License-Identifier: BSD-3-Clause */
/* A volume's lease for tests that have one thread: each call makes all steps of
 * a decision, storage included, and returns 0 or a negative errno with @err. */
#ifndef RDISK_UNIT_LEASE_H
#define RDISK_UNIT_LEASE_H

#include "server/volume/volume.h"

/* Read its record, and compare. */
int lease_load(struct lease *lease, uint64_t since, struct rdisk_error *err);
/* Revoke it. */
int lease_fence(struct lease *lease, struct rdisk_error *err);
/* After volume_check(): @holder has the volume, and a writer the lease. */
int volume_hold(struct volume *volume, struct volume_holder *holder,
                struct rdisk_error *err);

#endif
