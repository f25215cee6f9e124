/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/limits.h"

#include <errno.h>
#include <string.h>

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
