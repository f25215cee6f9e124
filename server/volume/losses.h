/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How often the storage of a volume has lost answered data since this machine
 * was booted. Linux reports each loss once, so that the server has to remember
 * it, also while the volume is not open and, in a file in memory, beyond its
 * own end: a client that reconnects later gets another cache id.
 */
#ifndef RDISK_SERVER_VOLUME_LOSSES_H
#define RDISK_SERVER_VOLUME_LOSSES_H

#include <stdatomic.h>
#include <stdint.h>

#include <rdisk/error.h>

/* Volumes with losses that the file has room for: 32 KiB with its header. */
#define LOSSES_MAX 1023

/*
 * Keep them in the file @path, and take what a former server left there. The
 * file is to be on tmpfs, which is as volatile as the page cache, does not fail
 * with the storage of volumes and is never waited for: elsewhere -ENOTSUP. 0 or
 * a negative errno with @err; losses are then kept in this process only. Before
 * a volume is opened; a second call without losses_close() is an error of the
 * caller.
 */
int losses_open(const char *path, struct rdisk_error *err);
/* Close that file. The counts of volumes that are not open are dropped; the
 * others are kept in this process. */
void losses_close(void);

struct losses;

/* Those of the volume with @identity; to be given back. NULL: no memory. Any
 * thread. */
struct losses *losses_get(const uint8_t *identity);
void losses_put(struct losses *losses);
/* There is one more. Any thread. */
void losses_add(struct losses *losses);
/* For as long as @losses is not given back. */
const atomic_uint *losses_count(const struct losses *losses);

#endif
