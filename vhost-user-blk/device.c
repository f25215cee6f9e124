/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/device_internal.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Descriptors of a request, header and status apart: the VMM's queue size less
 * these two would do, but 126 is what QEMU's own disks offer by default. */
#define SEGMENTS_MAX 126u

/* ---- Callbacks of libvhost-user ------------------------------------------ */

static uint64_t get_features(VuDev *vu)
{
    const struct device_geometry *geometry = &device_of(vu)->geometry;
    uint64_t features = 1ull << VIRTIO_BLK_F_SEG_MAX |
                        1ull << VIRTIO_BLK_F_BLK_SIZE |
                        1ull << VIRTIO_BLK_F_TOPOLOGY |
                        1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_MQ;

    if (geometry->read_only) {
        features |= 1ull << VIRTIO_BLK_F_RO;
    }
    if (geometry->discard) {
        features |= 1ull << VIRTIO_BLK_F_DISCARD;
    }
    if (geometry->zeroes) {
        features |= 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
    }
    return features;
}

static uint64_t get_protocol_features(VuDev *vu)
{
    return 1ull << VHOST_USER_PROTOCOL_F_MQ |
           1ull << VHOST_USER_PROTOCOL_F_CONFIG |
           1ull << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD |
           1ull << VHOST_USER_PROTOCOL_F_LOG_SHMFD |
           1ull << VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS;
}

static unsigned int log2_of(uint32_t value)
{
    return value ? 31 - (unsigned int)__builtin_clz(value) : 0;
}

static int get_config(VuDev *vu, uint8_t *config, uint32_t length)
{
    const struct device *device = device_of(vu);
    const struct device_geometry *geometry = &device->geometry;
    uint32_t optimal = geometry->optimal_size / geometry->block_size;
    uint32_t range = RDISK_RANGE_MAX >> 9;
    struct virtio_blk_config blk = {
        .capacity = htole64(geometry->size >> 9),
        .seg_max = htole32(SEGMENTS_MAX),
        .blk_size = htole32(geometry->block_size),
        .physical_block_exp = (uint8_t)log2_of(4096 / geometry->block_size),
        .min_io_size = htole16(1),
        .opt_io_size = htole32(optimal),
        .num_queues = htole16((uint16_t)device->virtqueue_count),
        .max_discard_sectors = htole32(range),
        .max_discard_seg = htole32(BLK_RANGES_MAX),
        .discard_sector_alignment = htole32(geometry->block_size >> 9),
        .max_write_zeroes_sectors = htole32(range),
        .max_write_zeroes_seg = htole32(BLK_RANGES_MAX),
        .write_zeroes_may_unmap = 1,
    };

    if (length > sizeof(blk)) {
        memset(config, 0, length);
        length = sizeof(blk);
    }
    memcpy(config, &blk, length);
    return 0;
}

static int set_config(VuDev *vu, const uint8_t *data, uint32_t offset,
                      uint32_t size, uint32_t flags)
{
    /* The write cache mode is not offered, and nothing else can be set. */
    return -EINVAL;
}

const VuDevIface device_iface = {
    .get_features = get_features,
    .get_protocol_features = get_protocol_features,
    .process_msg = message_process,
    .get_config = get_config,
    .set_config = set_config,
};

/* ---- For its owner ------------------------------------------------------- */

void device_resized(struct device *device, uint64_t size)
{
    device->geometry.size = size;
    if (device->connected) {
        connection_announce_config(device);
    }
}

void device_go(struct device *device)
{
    device->going = true;
    if (device->connected && !device->leaving && !device->waiting) {
        connection_stop_lanes(device);
        connection_start_lanes(device);
    }
}

bool device_connected(const struct device *device)
{
    return device->connected;
}

bool device_held(const struct device *device)
{
    return device->held && device->connected;
}

bool device_started(const struct device *device)
{
    return device->started;
}

static void map_virtqueues(struct device *device)
{
    for (unsigned int i = 0; i < device->virtqueue_count; i++) {
        struct lane *lane = &device->lanes[i % device->lane_count];

        device->virtqueues[i] = (struct virtqueue) {
            .lane = lane,
            .dev = &device->vu,
            .index = i,
            .kick_fd = -1,
        };
        lane->virtqueues[lane->virtqueue_count++] = &device->virtqueues[i];
        lane->drained_fd = device->drained_fd;
    }
}

static int open_descriptors(struct device *device)
{
    device->drained_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    device->pause_fd = timerfd_create(CLOCK_MONOTONIC,
                                      TFD_NONBLOCK | TFD_CLOEXEC);
    if (device->drained_fd < 0 || device->pause_fd < 0 ||
        loop_add(device->loop, device->drained_fd, EPOLLIN, &device->draining) <
            0 ||
        loop_add(device->loop, device->pause_fd, EPOLLIN, &device->resuming) <
            0) {
        return -errno;
    }
    return 0;
}

static void drop_descriptor(struct device *device, int fd)
{
    if (fd >= 0) {
        loop_remove(device->loop, fd);
        close(fd);
    }
}

struct device *device_create(struct loop *loop,
                             const struct device_options *options,
                             struct lane *lanes, unsigned int lane_count,
                             const struct device_events *events, void *opaque,
                             struct rdisk_error *err)
{
    struct device *device = calloc(1, sizeof(*device));

    if (!device) {
        rdisk_error_set(err, -ENOMEM, "no memory for disk '%s'", options->name);
        return NULL;
    }
    device->env = options->env;
    device->loop = loop;
    device->lanes = lanes;
    device->lane_count = lane_count;
    device->events = events;
    device->opaque = opaque;
    device->mode = options->mode;
    device->owner = options->owner;
    device->group = options->group;
    device->listen_fd = device->pause_fd = device->drained_fd = -1;
    device->resuming.ready = listener_resume;
    device->listening.ready = listener_ready;
    device->messages.ready = connection_message_ready;
    device->draining.ready = connection_drained;
    device->address.sun_family = AF_UNIX;
    device->virtqueue_count = options->virtqueues;
    device->name = strdup(options->name);
    device->virtqueues = calloc(options->virtqueues,
                                sizeof(device->virtqueues[0]));
    if (!device->name || !device->virtqueues || open_descriptors(device) < 0) {
        rdisk_error_set(err, -ENOMEM,
                        "no memory or descriptors for disk "
                        "'%s'",
                        options->name);
        device_destroy(device);
        return NULL;
    }
    if (strlen(options->socket) >= sizeof(device->address.sun_path)) {
        rdisk_error_set(err, -ENAMETOOLONG,
                        "the path of disk '%s', '%.150s', "
                        "is longer than %zu bytes",
                        options->name, options->socket,
                        sizeof(device->address.sun_path) - 1);
        device_destroy(device);
        return NULL;
    }
    strcpy(device->address.sun_path, options->socket);
    map_virtqueues(device);
    return device;
}

void device_destroy(struct device *device)
{
    if (!device) {
        return;
    }
    assert(!device->connected);
    device_unlisten(device);
    drop_descriptor(device, device->drained_fd);
    drop_descriptor(device, device->pause_fd);
    free(device->virtqueues);
    free(device->name);
    free(device);
}
