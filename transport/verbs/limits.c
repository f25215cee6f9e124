/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/limits.h"

#include <errno.h>
#include <string.h>

/* More in flight does not make them faster. */
static unsigned int clamp_reads(int limit)
{
    return limit < 0                 ? 0
           : limit > RDISK_READS_MAX ? RDISK_READS_MAX
                                     : (unsigned int)limit;
}

int rdisk_device_query(const struct rdisk_verbs *verbs,
                       struct ibv_context *context,
                       struct rdisk_device_limits *limits,
                       struct rdisk_error *err)
{
    struct ibv_device_attr attr;
    int ret = verbs->query_device(context, &attr);

    if (ret < 0) {
        return rdisk_error_set(err, ret, "cannot query the RDMA device: %s",
                               strerror(-ret));
    }
    limits->max_sge = (unsigned int)attr.max_sge;
    limits->max_qp_wr = (unsigned int)attr.max_qp_wr;
    limits->max_cqe = (unsigned int)attr.max_cqe;
    limits->max_sge_read = attr.max_sge_rd > 0 && attr.max_sge_rd < attr.max_sge
                               ? (unsigned int)attr.max_sge_rd
                               : limits->max_sge;
    /* With iWARP the memory that is read into has to be open to the peer. */
    if (!context->device ||
        context->device->transport_type != IBV_TRANSPORT_IWARP) {
        limits->reads_out = clamp_reads(attr.max_qp_init_rd_atom);
        limits->reads_in = clamp_reads(attr.max_qp_rd_atom);
    }
    limits->windows = attr.device_cap_flags & (IBV_DEVICE_MEM_WINDOW_TYPE_2A |
                                               IBV_DEVICE_MEM_WINDOW_TYPE_2B);
    if (limits->max_sge < 2) {
        return rdisk_error_set(
            err, -ENOTSUP,
            "the RDMA device supports %u gather element only, 2 are needed",
            limits->max_sge);
    }
    return 0;
}
