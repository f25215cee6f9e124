/* SPDX-License-Identifier: BSD-3-Clause */
/* A server without clients whose pool is the cluster's (tests/ceph/run). */
#ifndef TESTS_CEPH_CEPH_SERVER_H
#define TESTS_CEPH_CEPH_SERVER_H

#include "server/server.h"

extern struct server ceph_server;

/* With a volume "v" of @size bytes in its pool. */
void ceph_server_begin(uint64_t size);
void ceph_server_end(void);

/* Make @target, a snapshot or a clone, of volume @source: 0 or a negative
 * errno. */
int ceph_server_copy(const char *source, const char *target);

/* Read, or write with @byte, 4 KiB at @offset of a volume that is not open
 * elsewhere: its first byte; and its identity, unless that is NULL. */
char ceph_server_block(const char *name, enum rdisk_op op, uint64_t offset,
                       char byte, uint8_t identity[RDISK_ID_SIZE]);

#endif
