/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What takes no new sessions for now: some volumes, or all of them. Lasts
 * until it is resumed, or the server ends. Control thread.
 */
#ifndef RDISK_SERVER_VOLUME_DRAIN_H
#define RDISK_SERVER_VOLUME_DRAIN_H

#include <stdbool.h>

#include <rdisk/error.h>
#include <rdisk/protocol.h>

struct drain_volume {
    char name[RDISK_VOLUME_NAME_MAX + 1];
    struct drain_volume *next;
};

/* All zero: nothing is drained. */
struct drain {
    bool all;
    struct drain_volume *volumes; /* by name: a pool's may not be open */
};

/* "" is all of them. What is drained already stays so. 0 or -ENOMEM. */
int drain_begin(struct drain *drain, const char *volume,
                struct rdisk_error *err);
/*
 * "" ends everything. For one volume: -EINVAL with a sentence if it is not
 * drained, or only as one of all.
 */
int drain_end(struct drain *drain, const char *volume, struct rdisk_error *err);
/* True if it is drained, by name or with all others. */
bool drain_covers(const struct drain *drain, const char *volume);

#endif
