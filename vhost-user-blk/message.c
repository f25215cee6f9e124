/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/device_internal.h"

#include <unistd.h>

/*
 * libvhost-user trusts the VMM with indices and counts. A VMM is the host's,
 * but one daemon serves many: a broken one must not take the others along.
 */

/* What is wrong with a message on a virtqueue, or NULL. */
static const char *bad_virtqueue(const struct device *device,
                                 const VhostUserMsg *message)
{
    uint32_t index;

    switch (message->request) {
    case VHOST_USER_SET_VRING_ADDR:
        if (message->payload.addr.index >= device->virtqueue_count) {
            return "a virtqueue's index is out of range";
        }
        return device->vu.nregions == 0
                   ? "the device is started without memory: QEMU has missed "
                     "that the daemon was restarted, as QEMU 7.2 does while no "
                     "driver of the guest uses the disk"
                   : NULL;
    case VHOST_USER_SET_VRING_KICK:
        index = message->payload.u64 & VHOST_USER_VRING_IDX_MASK;
        return index >= device->virtqueue_count ||
                       !device->vu.vq[index].vring.used
                   ? "a virtqueue is started without rings"
                   : NULL;
    default:
        if (message->payload.state.index >= device->virtqueue_count) {
            return "a virtqueue's index is out of range";
        }
        return message->request == VHOST_USER_SET_VRING_NUM &&
                       (message->payload.state.num == 0 ||
                        message->payload.state.num > VIRTQUEUE_MAX_SIZE)
                   ? "a virtqueue's size is out of range"
                   : NULL;
    }
}

/* The same of any message. */
static const char *bad_message(const struct device *device,
                               const VhostUserMsg *message)
{
    switch (message->request) {
    case VHOST_USER_SET_VRING_NUM:
    case VHOST_USER_SET_VRING_BASE:
    case VHOST_USER_GET_VRING_BASE:
    case VHOST_USER_SET_VRING_ENABLE:
    case VHOST_USER_SET_VRING_ADDR:
    case VHOST_USER_SET_VRING_KICK:
        return bad_virtqueue(device, message);
    case VHOST_USER_SET_MEM_TABLE:
        if (message->payload.memory.nregions > VHOST_MEMORY_BASELINE_NREGIONS ||
            message->fd_num != (int)message->payload.memory.nregions) {
            return "the memory table has not a descriptor for each region: "
                   "the VMM must share all of the guest's memory (share=on)";
        }
        return NULL;
    case VHOST_USER_ADD_MEM_REG:
        return message->fd_num != 1
                   ? "a memory region comes without a descriptor: the VMM must "
                     "share all of the guest's memory (share=on)"
                   : NULL;
    case VHOST_USER_GET_CONFIG:
        return message->payload.config.size > VHOST_USER_MAX_CONFIG_SIZE
                   ? "the size of the config space is out of range"
                   : NULL;
    case VHOST_USER_GET_INFLIGHT_FD:
        return message->payload.inflight.num_queues > device->virtqueue_count ||
                       message->payload.inflight.queue_size > VIRTQUEUE_MAX_SIZE
                   ? "the in-flight table's size is out of range"
                   : NULL;
    case VHOST_USER_SET_INFLIGHT_FD:
        return message->fd_num != 1 ||
                       message->payload.inflight.num_queues >
                           device->virtqueue_count ||
                       message->payload.inflight.queue_size > VIRTQUEUE_MAX_SIZE
                   ? "the in-flight table does not fit the device"
                   : NULL;
    case VHOST_USER_POSTCOPY_ADVISE:
    case VHOST_USER_POSTCOPY_LISTEN:
    case VHOST_USER_POSTCOPY_END:
        return "postcopy needs memory that is not pinned";
    default:
        return NULL;
    }
}

/* Before libvhost-user handles it. Nonzero: it must not. */
int message_process(VuDev *vu, VhostUserMsg *message, int *do_reply)
{
    struct device *device = device_of(vu);
    const char *bad = bad_message(device, message);

    *do_reply = 0;
    if (bad) {
        for (int i = 0; i < message->fd_num; i++) {
            close(message->fds[i]);
        }
        message->fd_num = 0;
        vu->broken = true;
        connection_panic(vu, bad);
        return 1;
    }
    /* A VMM that connects again brings the table along instead. */
    if (message->request == VHOST_USER_GET_INFLIGHT_FD) {
        device->held = device->hold_logged = false;
        device->events->fresh(device->opaque);
    }
    /* Before its memory is unmapped. */
    if (message->request == VHOST_USER_SET_MEM_TABLE) {
        guest_memory_remove_all(device);
    } else if (message->request == VHOST_USER_REM_MEM_REG) {
        VhostUserMemoryRegion going = message->payload.memreg.region;

        guest_memory_remove(device, &going);
    }
    return 0;
}

/* Takes memory or rings away that requests in flight may use. */
bool message_needs_idle(uint32_t request)
{
    switch (request) {
    case VHOST_USER_GET_VRING_BASE:
    case VHOST_USER_SET_MEM_TABLE:
    case VHOST_USER_REM_MEM_REG:
    case VHOST_USER_SET_VRING_NUM:
    case VHOST_USER_SET_VRING_ADDR:
    case VHOST_USER_SET_VRING_BASE:
    case VHOST_USER_SET_VRING_KICK:
    case VHOST_USER_SET_INFLIGHT_FD:
    case VHOST_USER_GET_INFLIGHT_FD:
    case VHOST_USER_SET_FEATURES:
    case VHOST_USER_RESET_OWNER:
        return true;
    default:
        return false;
    }
}
