/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the pool: what its files share. */
#ifndef RDISK_SERVER_VOLUME_POOL_INTERNAL_H
#define RDISK_SERVER_VOLUME_POOL_INTERNAL_H

#include <sys/stat.h>

#include "server/volume/pool.h"

/*
 * Settle the identity of @backend, just opened as volume @name. Storage only. 0
 * or a negative errno with @err: the volume cannot be identified.
 */
int pool_identify(const struct pool *pool, const char *name,
                  struct backend *backend, struct rdisk_error *err);
/* That of a file which is not open as a volume; nothing is stored. */
int pool_identity_of(const struct pool *pool, int fd, const struct stat *st,
                     uint8_t *identity, struct rdisk_error *err);
/* The volume is deleted, its record too, and its lease with them. Control
 * thread. */
void pool_forget_lease(struct pool *pool, const uint8_t *identity);

#endif
