/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/device_internal.h"

#include <sys/stat.h>
#include <unistd.h>

/*
 * libvhost-user trusts the VMM with indices, counts and sizes. A VMM is the
 * host's, but its guest may have taken it over, and one daemon serves many: a
 * broken one must not take the others along.
 */

#define PAYLOAD(member) sizeof(((VhostUserMsg *)NULL)->payload.member)
/* A size, and what begins the payload that has a number of elements. */
#define CONFIG_HEADER offsetof(VhostUserConfig, region)
#define TABLE_HEADER  offsetof(VhostUserMemory, regions)

/* The messages that are accepted. */
static const struct shape {
    int request;
    uint32_t size;   /* bytes of its payload, at least */
    int fds;         /* descriptors, at most */
    bool needs_idle; /* takes memory or rings away that requests in flight may
                        use */
} shapes[] = {
    { VHOST_USER_GET_FEATURES, 0, 0, false },
    { VHOST_USER_SET_FEATURES, PAYLOAD(u64), 0, true },
    { VHOST_USER_SET_OWNER, 0, 0, false },
    { VHOST_USER_RESET_OWNER, 0, 0, true },
    { VHOST_USER_SET_MEM_TABLE, TABLE_HEADER, VHOST_MEMORY_BASELINE_NREGIONS,
      true },
    { VHOST_USER_SET_LOG_BASE, PAYLOAD(log), 1, false },
    { VHOST_USER_SET_LOG_FD, 0, 1, false },
    { VHOST_USER_SET_VRING_NUM, PAYLOAD(state), 0, true },
    { VHOST_USER_SET_VRING_ADDR, PAYLOAD(addr), 0, true },
    { VHOST_USER_SET_VRING_BASE, PAYLOAD(state), 0, true },
    { VHOST_USER_GET_VRING_BASE, PAYLOAD(state), 0, true },
    { VHOST_USER_SET_VRING_KICK, PAYLOAD(u64), 1, true },
    { VHOST_USER_SET_VRING_CALL, PAYLOAD(u64), 1, false },
    { VHOST_USER_SET_VRING_ERR, PAYLOAD(u64), 1, false },
    { VHOST_USER_GET_PROTOCOL_FEATURES, 0, 0, false },
    { VHOST_USER_SET_PROTOCOL_FEATURES, PAYLOAD(u64), 0, false },
    { VHOST_USER_GET_QUEUE_NUM, 0, 0, false },
    { VHOST_USER_SET_VRING_ENABLE, PAYLOAD(state), 0, false },
    { VHOST_USER_SET_BACKEND_REQ_FD, 0, 1, false },
    { VHOST_USER_GET_CONFIG, CONFIG_HEADER, 0, false },
    { VHOST_USER_SET_CONFIG, CONFIG_HEADER, 0, false },
    { VHOST_USER_GET_INFLIGHT_FD, PAYLOAD(inflight), 0, true },
    { VHOST_USER_SET_INFLIGHT_FD, PAYLOAD(inflight), 1, true },
    { VHOST_USER_GET_MAX_MEM_SLOTS, 0, 0, false },
    { VHOST_USER_ADD_MEM_REG, PAYLOAD(memreg), 1, false },
    { VHOST_USER_REM_MEM_REG, PAYLOAD(memreg), 1, true },
};

/* NULL: it is not accepted. */
static const struct shape *find_shape(int request)
{
    for (unsigned int i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        if (shapes[i].request == request) {
            return &shapes[i];
        }
    }
    return NULL;
}

/* ---- Memory that a message shares ---------------------------------------- */

/* A part of a file that is not all there: its use would raise SIGBUS. */
static bool outside_file(int fd, uint64_t offset, uint64_t size)
{
    struct stat st;
    uint64_t end;

    return size == 0 || __builtin_add_overflow(offset, size, &end) ||
           fstat(fd, &st) < 0 ||
           (S_ISREG(st.st_mode) && (uint64_t)st.st_size < end);
}

/* An end that overflows would reach beyond what is mapped. */
static bool bad_region(const VhostUserMemoryRegion *region, int fd)
{
    uint64_t end;

    return outside_file(fd, region->mmap_offset, region->memory_size) ||
           __builtin_add_overflow(region->guest_phys_addr, region->memory_size,
                                  &end) ||
           __builtin_add_overflow(region->userspace_addr, region->memory_size,
                                  &end);
}

static const char not_in_file[] = "a memory region is not all in its file";

static const char *bad_memory_table(const VhostUserMsg *message)
{
    uint32_t count = message->payload.memory.nregions;

    if (count > VHOST_MEMORY_BASELINE_NREGIONS ||
        message->fd_num != (int)count ||
        message->size < TABLE_HEADER + count * sizeof(VhostUserMemoryRegion)) {
        return "the memory table has not a descriptor for each region: "
               "the VMM must share all of the guest's memory (share=on)";
    }
    for (uint32_t i = 0; i < count; i++) {
        /* A copy: the message is packed. */
        VhostUserMemoryRegion region = message->payload.memory.regions[i];

        if (bad_region(&region, message->fds[i])) {
            return not_in_file;
        }
    }
    return NULL;
}

static const char *bad_memory_region(const VhostUserMsg *message)
{
    VhostUserMemoryRegion region = message->payload.memreg.region;

    if (message->fd_num != 1) {
        return "a memory region comes without a descriptor: the VMM must "
               "share all of the guest's memory (share=on)";
    }
    return bad_region(&region, message->fds[0]) ? not_in_file : NULL;
}

/* What libvhost-user takes for one queue of the table of requests in flight. */
static uint64_t inflight_bytes(uint16_t queue_size)
{
    return (queue_size * sizeof(VuDescStateSplit) + sizeof(uint16_t) + 63) /
           64 * 64;
}

static const char *bad_inflight(const struct device *device,
                                const VhostUserMsg *message)
{
    VhostUserInflight inflight = message->payload.inflight;

    if (inflight.num_queues > device->virtqueue_count ||
        inflight.queue_size > VIRTQUEUE_MAX_SIZE) {
        return "the in-flight table's size is out of range";
    }
    if (message->request == VHOST_USER_SET_INFLIGHT_FD &&
        (message->fd_num != 1 ||
         inflight.mmap_size <
             inflight.num_queues * inflight_bytes(inflight.queue_size) ||
         outside_file(message->fds[0], inflight.mmap_offset,
                      inflight.mmap_size))) {
        return "the in-flight table does not fit the device";
    }
    return NULL;
}

static const char *bad_log(const VhostUserMsg *message)
{
    return message->fd_num != 1 ||
                   outside_file(message->fds[0],
                                message->payload.log.mmap_offset,
                                message->payload.log.mmap_size)
               ? "the log of dirty pages is not all in its file"
               : NULL;
}

/* ---- Virtqueues ---------------------------------------------------------- */

static const char *bad_start(struct device *device, unsigned int index)
{
    const VuVirtq *vq;

    if (index >= device->virtqueue_count) {
        return "a virtqueue's index is out of range";
    }
    vq = vu_get_queue(&device->vu, (int)index);
    return vq->vring.num == 0 || !guest_memory_find_ring(device, index)
               ? "a virtqueue is started without rings"
               : NULL;
}

/* What is wrong with a message on a virtqueue, or NULL. */
static const char *bad_virtqueue(struct device *device,
                                 const VhostUserMsg *message)
{
    if (message->request == VHOST_USER_SET_VRING_KICK) {
        return bad_start(device,
                         message->payload.u64 & VHOST_USER_VRING_IDX_MASK);
    }
    /* The index comes first in both. */
    if (message->payload.state.index >= device->virtqueue_count) {
        return "a virtqueue's index is out of range";
    }
    switch (message->request) {
    case VHOST_USER_SET_VRING_ADDR:
        if (device->vu.nregions == 0) {
            return "the device is started without memory: QEMU has missed "
                   "that the daemon was restarted, as QEMU 7.2 does while no "
                   "driver of the guest uses the disk";
        }
        /* Its index, which is read at once, must not be in the next page. */
        return message->payload.addr.used_user_addr % VRING_USED_ALIGN_SIZE
                   ? "a used ring is not aligned"
                   : NULL;
    case VHOST_USER_SET_VRING_NUM:
        return message->payload.state.num == 0 ||
                       message->payload.state.num > VIRTQUEUE_MAX_SIZE
                   ? "a virtqueue's size is out of range"
                   : NULL;
    default:
        return NULL;
    }
}

/* ---- Any message --------------------------------------------------------- */

static const char *bad_payload(struct device *device,
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
        return bad_memory_table(message);
    case VHOST_USER_ADD_MEM_REG:
        return bad_memory_region(message);
    case VHOST_USER_GET_CONFIG:
        return message->payload.config.size > VHOST_USER_MAX_CONFIG_SIZE
                   ? "the size of the config space is out of range"
                   : NULL;
    case VHOST_USER_GET_INFLIGHT_FD:
    case VHOST_USER_SET_INFLIGHT_FD:
        return bad_inflight(device, message);
    case VHOST_USER_SET_LOG_BASE:
        return bad_log(message);
    case VHOST_USER_SET_PROTOCOL_FEATURES:
        /* A reactor would wait for the VMM's answers. */
        return message->payload.u64 >>
                           VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS &
                       1
                   ? "notifications in messages were not offered"
                   : NULL;
    default:
        return NULL;
    }
}

static const char *bad_message(struct device *device,
                               const VhostUserMsg *message)
{
    const struct shape *shape = find_shape(message->request);

    switch (message->request) {
    case VHOST_USER_POSTCOPY_ADVISE:
    case VHOST_USER_POSTCOPY_LISTEN:
    case VHOST_USER_POSTCOPY_END:
        return "postcopy needs memory that is not pinned";
    default:
        break;
    }
    if (!shape) {
        return "an unknown message";
    }
    /* A descriptor that is not expected would stay open. */
    return message->size < shape->size    ? "a message is too short"
           : message->fd_num > shape->fds ? "a message has too many descriptors"
                                          : bad_payload(device, message);
}

void message_close_fds(VhostUserMsg *message)
{
    for (int i = 0; i < message->fd_num; i++) {
        close(message->fds[i]);
    }
    message->fd_num = 0;
}

/* It is accepted, and libvhost-user has not handled it yet. */
static void accept_message(struct device *device, const VhostUserMsg *message)
{
    switch (message->request) {
    case VHOST_USER_GET_INFLIGHT_FD:
        /* A VMM that connects again brings the table along instead. */
        device->new_table = true;
        device->held = device->hold_logged = false;
        device->events->fresh(device->opaque);
        break;
    case VHOST_USER_SET_INFLIGHT_FD:
        device->again = !device->new_table;
        break;
    /* Before its memory is unmapped. */
    case VHOST_USER_SET_MEM_TABLE:
        guest_memory_remove_all(device);
        break;
    case VHOST_USER_REM_MEM_REG: {
        VhostUserMemoryRegion going = message->payload.memreg.region;

        guest_memory_remove(device, &going);
        break;
    }
    default:
        break;
    }
}

int message_process(VuDev *vu, VhostUserMsg *message, int *do_reply)
{
    struct device *device = device_of(vu);
    const char *bad = bad_message(device, message);

    *do_reply = 0;
    if (bad) {
        message_close_fds(message);
        vu->broken = true;
        connection_panic(vu, bad);
        return 1;
    }
    accept_message(device, message);
    return 0;
}

bool message_needs_idle(uint32_t request)
{
    const struct shape *shape = find_shape((int)request);

    return shape && shape->needs_idle;
}
