/* SPDX-License-Identifier: BSD-3-Clause */
/* A Ceph pool, or a namespace of one, whose images are volumes. */
#ifndef RDISK_SERVER_BACKENDS_RBD_POOL_H
#define RDISK_SERVER_BACKENDS_RBD_POOL_H

#include "server/backends/backend.h"

extern const struct backend_pool_class ceph_pool;

#endif
