/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/device.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/container_of.h"
#include "server/log.h"

/* Descriptors of a request, header and status apart: the VMM's queue size less
 * these two would do, but 126 is what QEMU's own disks offer by default. */
#define SEGMENTS_MAX 126u
/* Bytes of the header of a vhost-user message: request, flags, size. */
#define HEADER_SIZE 12u

struct device {
    VuDev vu; /* first: callbacks get a pointer to it */
    struct loop *loop;
    char *name;
    struct sockaddr_un address;
    mode_t mode;
    uid_t owner;
    gid_t group;
    struct loop_source listening, messages, draining;
    int listen_fd;
    int drained_fd; /* eventfd: a lane has nothing in flight, or
                                   the rings are broken */
    bool connected; /* vu is initialised */
    bool waiting;   /* a message waits until nothing is in flight */
    bool leaving;   /* so does the end of the connection */
    bool going;     /* lanes take requests between messages */
    bool started;   /* events->started was called */
    struct device_geometry geometry;
    struct lane *lanes;
    unsigned int lane_count;
    struct virtqueue *virtqueues;
    unsigned int virtqueue_count;
    const struct device_events *events;
    void *opaque;
    /* The regions that events->memory_added has told of. */
    struct {
        void *address;
        size_t length;
    } known[VHOST_USER_MAX_RAM_SLOTS];
    unsigned int known_count;
    _Atomic(const char *) broken; /* why, by whichever thread */
    char broken_text[200];
};
static_assert(offsetof(struct device, vu) == 0, "callbacks get the VuDev");

static struct device *device_of(VuDev *vu)
{
    return (struct device *)vu;
}

#define SOURCE_DEVICE(source, member) \
    container_of(source, struct device, member)

/* ---- Lanes, around messages ---------------------------------------------- */

struct lane_call {
    struct lane *lane;
    int result;
    unsigned int in_flight;
};

static void call_start(void *argument)
{
    struct lane_call *call = argument;

    call->result = lane_start(call->lane);
}

static void call_stop(void *argument)
{
    struct lane_call *call = argument;

    if (call->lane->running) {
        lane_stop(call->lane);
    }
    call->in_flight = call->lane->in_flight;
}

/* Returns the number of requests in flight. */
static unsigned int stop_lanes(struct device *device)
{
    unsigned int in_flight = 0;

    for (unsigned int i = 0; i < device->lane_count; i++) {
        struct lane_call call = { .lane = &device->lanes[i] };

        reactor_call(call.lane->reactor, call_stop, &call);
        in_flight += call.in_flight;
    }
    return in_flight;
}

static void start_lanes(struct device *device)
{
    if (!device->going || device->vu.broken) {
        return;
    }
    for (unsigned int i = 0; i < device->lane_count; i++) {
        struct lane_call call = { .lane = &device->lanes[i] };

        reactor_call(call.lane->reactor, call_start, &call);
        if (call.result < 0) {
            log_error("disk '%s': cannot watch a virtqueue: %s; the VMM is "
                      "disconnected",
                      device->name, strerror(-call.result));
            device_disconnect(device);
            return;
        }
    }
}

/* ---- What libvhost-user asks --------------------------------------------- */

static void panicked(VuDev *vu, const char *text)
{
    struct device *device = device_of(vu);
    const char *none = NULL;
    uint64_t one = 1;

    /* Any thread, maybe several; the first one counts. */
    if (atomic_compare_exchange_strong(&device->broken, &none, "")) {
        snprintf(device->broken_text, sizeof(device->broken_text), "%s", text);
        atomic_store(&device->broken, device->broken_text);
    }
    if (write(device->drained_fd, &one, sizeof(one)) < 0) {
        abort(); /* an eventfd takes 2^64 - 2 of these */
    }
}

static void set_watch(VuDev *vu, int fd, int condition, vu_watch_cb callback,
                      void *data)
{
    /* Only queues with a handler are watched, and ours have none: their lanes
     * watch them. */
    assert(!"no queue has a handler");
}

static void remove_watch(VuDev *vu, int fd)
{
    /* Lanes unwatch before each message. */
}

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

/* ---- Checks of messages --------------------------------------------------- */

/*
 * libvhost-user trusts the VMM with indices and counts. A VMM is the host's,
 * but one daemon serves many: a broken one must not take the others along.
 */
static const char *bad_message(const struct device *device,
                               const VhostUserMsg *message)
{
    uint32_t index;

    switch (message->request) {
    case VHOST_USER_SET_VRING_NUM:
    case VHOST_USER_SET_VRING_BASE:
    case VHOST_USER_GET_VRING_BASE:
    case VHOST_USER_SET_VRING_ENABLE:
        index = message->payload.state.index;
        if (index >= device->virtqueue_count) {
            return "a virtqueue's index is out of range";
        }
        if (message->request == VHOST_USER_SET_VRING_NUM &&
            (message->payload.state.num == 0 ||
             message->payload.state.num > VIRTQUEUE_MAX_SIZE)) {
            return "a virtqueue's size is out of range";
        }
        return NULL;
    case VHOST_USER_SET_VRING_ADDR:
        return message->payload.addr.index >= device->virtqueue_count
                   ? "a virtqueue's index is out of range"
                   : NULL;
    case VHOST_USER_SET_MEM_TABLE:
        if (message->payload.memory.nregions > VHOST_MEMORY_BASELINE_NREGIONS ||
            message->fd_num != (int)message->payload.memory.nregions) {
            return "the memory table has other descriptors than regions";
        }
        return NULL;
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

/* ---- Guest memory --------------------------------------------------------- */

static void *region_address(const VuDevRegion *region)
{
    return (void *)(uintptr_t)(region->mmap_addr + region->mmap_offset);
}

/* Its index in device->known, or known_count. */
static unsigned int find_known(const struct device *device,
                               const VuDevRegion *region)
{
    unsigned int i = 0;

    while (i < device->known_count &&
           (device->known[i].address != region_address(region) ||
            device->known[i].length != region->size)) {
        i++;
    }
    return i;
}

static void remove_known(struct device *device, unsigned int i)
{
    device->events->memory_removed(device->opaque, device->known[i].address,
                                   device->known[i].length);
    device->known[i] = device->known[--device->known_count];
}

static void remove_regions(struct device *device)
{
    while (device->known_count) {
        remove_known(device, device->known_count - 1);
    }
}

/* What the last message has brought. */
static void add_regions(struct device *device)
{
    for (unsigned int i = 0; i < device->vu.nregions; i++) {
        const VuDevRegion *region = &device->vu.regions[i];

        if (find_known(device, region) == device->known_count &&
            device->known_count < VHOST_USER_MAX_RAM_SLOTS) {
            device->known[device->known_count].address = region_address(region);
            device->known[device->known_count++].length = region->size;
            device->events->memory_added(device->opaque, region_address(region),
                                         region->size);
        }
    }
}

static void remove_region(struct device *device,
                          const VhostUserMemoryRegion *going)
{
    for (unsigned int i = 0; i < device->vu.nregions; i++) {
        const VuDevRegion *region = &device->vu.regions[i];
        unsigned int known = find_known(device, region);

        if (region->gpa == going->guest_phys_addr &&
            region->qva == going->userspace_addr &&
            region->size == going->memory_size && known < device->known_count) {
            remove_known(device, known);
        }
    }
}

void device_for_each_region(struct device *device,
                            void (*function)(void *opaque, void *address,
                                             size_t length),
                            void *opaque)
{
    for (unsigned int i = 0; i < device->known_count; i++) {
        function(opaque, device->known[i].address, device->known[i].length);
    }
}

/* ---- Messages --------------------------------------------------------------- */

/* Before libvhost-user handles it. Nonzero: it shall not. */
static int process_message(VuDev *vu, VhostUserMsg *message, int *do_reply)
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
        panicked(vu, bad);
        return 1;
    }
    /* Who connects again brings the table along instead. */
    if (message->request == VHOST_USER_GET_INFLIGHT_FD) {
        device->events->fresh(device->opaque);
    }
    /* Before its memory is unmapped. */
    if (message->request == VHOST_USER_SET_MEM_TABLE) {
        remove_regions(device);
    } else if (message->request == VHOST_USER_REM_MEM_REG) {
        VhostUserMemoryRegion going = message->payload.memreg.region;

        remove_region(device, &going);
    }
    return 0;
}

static const VuDevIface iface = {
    .get_features = get_features,
    .get_protocol_features = get_protocol_features,
    .process_msg = process_message,
    .get_config = get_config,
    .set_config = set_config,
};

/* Takes memory or rings away that requests in flight may use. */
static bool needs_idle(uint32_t request)
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

static bool any_started(struct device *device)
{
    for (unsigned int i = 0; i < device->virtqueue_count; i++) {
        if (vu_queue_started(&device->vu, vu_get_queue(&device->vu, (int)i))) {
            return true;
        }
    }
    return false;
}

static void tell_started(struct device *device)
{
    bool started = any_started(device);

    if (started == device->started) {
        return;
    }
    device->started = started;
    if (started) {
        device->events->started(device->opaque);
    } else {
        device->going = false;
        device->events->stopped(device->opaque);
    }
}

/* The lanes are stopped, and nothing is in flight if that is needed. */
static void dispatch(struct device *device)
{
    if (!vu_dispatch(&device->vu) || atomic_load(&device->broken)) {
        device_disconnect(device);
        return;
    }
    add_regions(device);
    tell_started(device);
    start_lanes(device);
}

static void message_ready(struct loop_source *source, uint32_t events)
{
    struct device *device = SOURCE_DEVICE(source, messages);
    uint32_t header[HEADER_SIZE / sizeof(uint32_t)];
    ssize_t n = recv(device->vu.sock, header, sizeof(header),
                     MSG_PEEK | MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    /* A VMM sends a header whole. */
    if (n < (ssize_t)sizeof(header)) {
        device_disconnect(device);
        return;
    }
    if (stop_lanes(device) && needs_idle(header[0])) {
        device->waiting = true;
        loop_change(device->loop, device->vu.sock, 0, &device->messages);
        return;
    }
    dispatch(device);
}

/* ---- Connections ------------------------------------------------------------- */

static void leave(struct device *device)
{
    const char *why = atomic_load(&device->broken);

    device->leaving = false;
    remove_regions(device);
    if (device->started) {
        device->started = false;
        device->going = false;
        device->events->stopped(device->opaque);
    }
    vu_deinit(&device->vu);
    device->connected = false;
    if (why) {
        log_error("disk '%s': the VMM or its guest broke the protocol: %s; it "
                  "has been disconnected",
                  device->name, *why ? why : "no reason is known");
    } else {
        log_info("disk '%s': the VMM has disconnected", device->name);
    }
}

void device_disconnect(struct device *device)
{
    if (!device->connected || device->leaving) {
        return;
    }
    device->leaving = true;
    device->waiting = false;
    loop_remove(device->loop, device->vu.sock);
    if (stop_lanes(device) == 0) {
        leave(device);
    } else {
        device->events->abandoned(device->opaque);
    }
}

static void drained_ready(struct loop_source *source, uint32_t events)
{
    struct device *device = SOURCE_DEVICE(source, draining);
    eventfd_t count;

    eventfd_read(device->drained_fd, &count);
    if (!device->connected) {
        return;
    }
    if (device->leaving) {
        if (stop_lanes(device) == 0) {
            leave(device);
        }
    } else if (atomic_load(&device->broken)) {
        device_disconnect(device);
    } else if (device->waiting && stop_lanes(device) == 0) {
        device->waiting = false;
        loop_change(device->loop, device->vu.sock, EPOLLIN, &device->messages);
        dispatch(device);
    }
}

static void connect_ready(struct loop_source *source, uint32_t events)
{
    struct device *device = SOURCE_DEVICE(source, listening);
    int fd = accept4(device->listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0) {
        return;
    }
    if (device->connected) {
        log_warning("disk '%s': a second VMM was refused at '%s': one is "
                    "connected",
                    device->name, device->address.sun_path);
        close(fd);
        return;
    }
    atomic_store(&device->broken, NULL);
    if (!vu_init(&device->vu, (uint16_t)device->virtqueue_count, fd, panicked,
                 NULL, set_watch, remove_watch, &iface)) {
        log_error("disk '%s': no memory for a connection", device->name);
        close(fd);
        return;
    }
    if (loop_add(device->loop, fd, EPOLLIN, &device->messages) < 0) {
        log_error("disk '%s': cannot watch a connection: %s", device->name,
                  strerror(errno));
        vu_deinit(&device->vu);
        return;
    }
    device->connected = true;
    log_info("disk '%s': a VMM has connected", device->name);
}

/* ---- The socket ---------------------------------------------------------------- */

/* A socket that nobody serves any more is in the way. */
static int remove_stale(const struct sockaddr_un *address,
                        struct rdisk_error *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;
    int ret;

    if (fd < 0) {
        return rdisk_error_set(err, -errno, "cannot create a socket: %s",
                               strerror(errno));
    }
    ret = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    if (ret == 0 || errno == EAGAIN) {
        close(fd);
        return rdisk_error_set(err, -EADDRINUSE,
                               "another process answers at "
                               "'%s'",
                               address->sun_path);
    }
    close(fd);
    if (lstat(address->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        return rdisk_error_set(err, -EEXIST,
                               "'%s' exists and is not a "
                               "socket",
                               address->sun_path);
    }
    unlink(address->sun_path);
    return 0;
}

static int open_socket(struct device *device, struct rdisk_error *err)
{
    const struct sockaddr_un *address = &device->address;
    int ret = remove_stale(address, err);
    mode_t mask;

    if (ret < 0) {
        return ret;
    }
    device->listen_fd = socket(AF_UNIX,
                               SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Nobody else gets in before its owner and mode are set. */
    mask = umask(0177);
    ret = device->listen_fd < 0 ||
                  bind(device->listen_fd, (const struct sockaddr *)address,
                       sizeof(*address)) < 0
              ? -errno
              : 0;
    umask(mask);
    if (ret == 0 &&
        (((device->owner != (uid_t)-1 || device->group != (gid_t)-1) &&
          chown(address->sun_path, device->owner, device->group) < 0) ||
         chmod(address->sun_path, device->mode) < 0 ||
         listen(device->listen_fd, 8) < 0)) {
        ret = -errno;
    }
    if (ret == 0) {
        ret = loop_add(device->loop, device->listen_fd, EPOLLIN,
                       &device->listening);
    }
    return ret < 0 ? rdisk_error_set(err, ret,
                                     "cannot listen at '%s' for "
                                     "disk '%s': %s",
                                     address->sun_path, device->name,
                                     strerror(-ret))
                   : 0;
}

int device_listen(struct device *device, const struct device_geometry *geometry,
                  struct rdisk_error *err)
{
    device->geometry = *geometry;
    return device->listen_fd < 0 ? open_socket(device, err) : 0;
}

void device_unlisten(struct device *device)
{
    if (device->listen_fd >= 0) {
        loop_remove(device->loop, device->listen_fd);
        close(device->listen_fd);
        unlink(device->address.sun_path);
        device->listen_fd = -1;
    }
}

/* ---- For its owner --------------------------------------------------------------- */

void device_resized(struct device *device, uint64_t size)
{
    device->geometry.size = size;
    if (device->connected && device->vu.backend_fd >= 0) {
        vu_config_change_msg(&device->vu);
    }
}

void device_go(struct device *device)
{
    device->going = true;
    if (device->connected && !device->leaving && !device->waiting) {
        stop_lanes(device);
        start_lanes(device);
    }
}

bool device_connected(const struct device *device)
{
    return device->connected;
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
    device->loop = loop;
    device->lanes = lanes;
    device->lane_count = lane_count;
    device->events = events;
    device->opaque = opaque;
    device->mode = options->mode;
    device->owner = options->owner;
    device->group = options->group;
    device->listen_fd = -1;
    device->listening.ready = connect_ready;
    device->messages.ready = message_ready;
    device->draining.ready = drained_ready;
    device->address.sun_family = AF_UNIX;
    device->virtqueue_count = options->virtqueues;
    device->drained_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    device->name = strdup(options->name);
    device->virtqueues = calloc(options->virtqueues,
                                sizeof(device->virtqueues[0]));
    if (device->drained_fd < 0 || !device->name || !device->virtqueues ||
        loop_add(loop, device->drained_fd, EPOLLIN, &device->draining) < 0) {
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
    if (device->drained_fd >= 0) {
        loop_remove(device->loop, device->drained_fd);
        close(device->drained_fd);
    }
    free(device->virtqueues);
    free(device->name);
    free(device);
}
