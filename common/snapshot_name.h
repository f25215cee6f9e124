/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of snapshots: VOLUME@SNAPSHOT, which is also the name under which a
 * snapshot is opened. No volume has an '@' in its name. Any thread. */
#ifndef RDISK_SNAPSHOT_NAME_H
#define RDISK_SNAPSHOT_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include <rdisk/error.h>
#include <rdisk/protocol.h>

/* True if @name, a valid name of a volume, is a snapshot's. */
bool snapshot_is_name(const char *name);
/* Of VOLUME@SNAPSHOT, bytes of VOLUME; of any other name, all of it. */
size_t snapshot_volume_length(const char *name);
/* The volume that @name is of, or names; returns @volume. */
char *snapshot_volume(const char *name, char volume[RDISK_VOLUME_NAME_MAX + 1]);
/*
 * Check that @name is VOLUME@SNAPSHOT, both parts being names that a volume may
 * have: 0, or -EINVAL with a sentence.
 */
int snapshot_name_check(const char *name, struct rdisk_error *err);

#endif
