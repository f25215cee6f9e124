/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/doorbell.h"

#include <assert.h>
#include <errno.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#define ATTRIBUTES 3

/* POST_SEND of no work request: there are some in the shared memory. */
static int ring(const struct ibv_qp *qp, enum rdma_driver_id driver)
{
    struct ib_uverbs_post_send command = {
        .qp_handle = qp->handle,
        .wqe_size = sizeof(struct ibv_send_wr),
    };
    struct ib_uverbs_post_send_resp response = { 0 };
    /* Its last member is an array of no length, which cannot be nested. */
    const struct ib_uverbs_ioctl_hdr header = {
        .length = sizeof(header) + ATTRIBUTES * sizeof(struct ib_uverbs_attr),
        .object_id = UVERBS_OBJECT_DEVICE,
        .method_id = UVERBS_METHOD_INVOKE_WRITE,
        .num_attrs = ATTRIBUTES,
        .driver_id = driver,
    };
    struct {
        _Alignas(struct ib_uverbs_ioctl_hdr) uint8_t header[sizeof(header)];
        struct ib_uverbs_attr attributes[ATTRIBUTES];
    } call = {
        .attributes = {
            {
                .attr_id = UVERBS_ATTR_WRITE_CMD,
                .len = sizeof(uint64_t),
                .flags = UVERBS_ATTR_F_MANDATORY,
                .data = IB_USER_VERBS_CMD_POST_SEND,
            },
            {
                .attr_id = UVERBS_ATTR_CORE_IN,
                .len = sizeof(command),
                .flags = UVERBS_ATTR_F_MANDATORY,
                .data = (uintptr_t)&command,
            },
            {
                .attr_id = UVERBS_ATTR_CORE_OUT,
                .len = sizeof(response),
                .flags = UVERBS_ATTR_F_MANDATORY,
                .data = (uintptr_t)&response,
            },
        },
    };

    static_assert(sizeof(call) == sizeof(header) + sizeof(call.attributes),
                  "the attributes follow the header");
    memcpy(call.header, &header, sizeof(header));
    return ioctl(qp->context->cmd_fd, RDMA_VERBS_IOCTL, &call) < 0 ? -errno : 0;
}

int rdisk_doorbell_ring(struct ibv_qp *qp)
{
    static const enum rdma_driver_id drivers[] = {
        RDMA_DRIVER_RXE,
        RDMA_DRIVER_SIW,
    };
    int ret = -EINVAL;

    /* The kernel refuses the number of another driver than its device's. */
    for (unsigned int i = 0;
         i < sizeof(drivers) / sizeof(drivers[0]) && ret == -EINVAL; i++) {
        ret = ring(qp, drivers[i]);
    }
    return ret;
}
