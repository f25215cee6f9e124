/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the transport: what an RDMA device can do. */
#ifndef RDISK_VERBS_LIMITS_H
#define RDISK_VERBS_LIMITS_H

#include <stdbool.h>

#include <rdisk/error.h>
#include "transport/verbs/verbs.h"

/* RDMA READs in flight on a queue pair. */
#define RDISK_READS_MAX 16

/* What of a device's limits matters to us. */
struct rdisk_device_limits {
    unsigned int max_sge;      /* of a work request, */
    unsigned int max_sge_read; /* and of an RDMA READ */
    unsigned int max_qp_wr;    /* of a queue pair, each direction */
    unsigned int max_cqe;
    /* RDMA READs that a queue pair may have in flight, and may answer at a
     * time; 0: none. */
    unsigned int reads_out, reads_in;
    bool windows; /* has memory windows of type 2 */
};

/* 0, or a negative errno: -ENOTSUP if the device cannot do what is needed. */
int rdisk_device_query(const struct rdisk_verbs *verbs,
                       struct ibv_context *context,
                       struct rdisk_device_limits *limits,
                       struct rdisk_error *err);

#endif
