/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's requests through a lane of rdisk-vhost over the fake device, for
 * callgrind to count the instructions from the virtqueue to the device and
 * back; tests/bench/instructions runs it.
 *
 *   vhost-instructions read|write SIZE DEPTH COUNT
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/bench/result.h"
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"
#include "vhost-user-blk/virtqueue.h"

#define DEPTH_MAX 64u
#define RING      256u /* descriptors */
#define USED_AT   8192u
#define HEADERS   16384u /* 32 bytes a request: header, then status */
#define DATA_AT   32768u

struct bench {
    enum rdisk_op op;
    uint32_t size, depth;
    uint64_t count;
    struct scene scene;
    struct reactor *reactor;
    VuDev dev;
    uint8_t *memory; /* the guest's: ring, headers, data */
    size_t memory_size;
    uint16_t avail, used;
    struct virtqueue virtqueue, *virtqueues[1];
    struct lane lane;
    _Atomic uint64_t volume_size;
};

/* A check of the scene's ends the program. */
CU_BOOL CU_assertImplementation(CU_BOOL value, unsigned int line,
                                const char *condition, const char *file,
                                const char *function, CU_BOOL fatal)
{
    if (!value) {
        fprintf(stderr, "%s:%u: not so: %s\n", file, line, condition);
        exit(1);
    }
    return value;
}

static void panicked(VuDev *dev, const char *text)
{
    fprintf(stderr, "vhost-instructions: %s\n", text);
    exit(1);
}

static void set_watch(VuDev *dev, int fd, int condition, vu_watch_cb callback,
                      void *data)
{
}

static void remove_watch(VuDev *dev, int fd)
{
}

/* As a VMM's messages leave it, with what QEMU and Linux negotiate. */
static void begin_device(struct bench *bench)
{
    static const VuDevIface iface = { 0 };
    VuDev *dev = &bench->dev;
    VuVirtq *vq;

    /* No socket is used; vu_deinit() closes this one. */
    REQUIRE(vu_init(dev, 1, eventfd(0, EFD_CLOEXEC), panicked, NULL, set_watch,
                    remove_watch, &iface));
    dev->features = 1ull << VIRTIO_F_VERSION_1 | 1ull
                                                     << VIRTIO_RING_F_EVENT_IDX;
    dev->protocol_features = 1ull << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD;
    dev->nregions = 1;
    dev->regions[0] = (VuDevRegion) {
        .size = bench->memory_size,
        .qva = (uintptr_t)bench->memory,
        .mmap_addr = (uintptr_t)bench->memory,
    };
    vq = vu_get_queue(dev, 0);
    vq->vring = (VuRing) {
        .num = RING,
        .desc = (void *)bench->memory,
        .avail = (void *)(bench->memory + RING * sizeof(struct vring_desc)),
        .used = (void *)(bench->memory + USED_AT),
    };
    vq->inflight = calloc(1, sizeof(*vq->inflight) +
                                 RING * sizeof(vq->inflight->desc[0]));
    REQUIRE(vq->inflight != NULL);
    vq->inflight->version = 1;
    vq->inflight->desc_num = RING;
    vq->inflight_num = RING;
    vq->enable = 1;
    vq->started = true;
    vq->call_fd = eventfd(0, EFD_CLOEXEC);
    vq->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void begin_lane(struct bench *bench)
{
    struct rdisk_initiator *session = bench->scene.clients[0].session;
    const struct rdisk_volume_info *info = rdisk_initiator_info(session);
    struct lane *lane = &bench->lane;

    bench->virtqueue = (struct virtqueue) {
        .lane = lane,
        .dev = &bench->dev,
        .kick_fd = -1,
    };
    bench->virtqueues[0] = &bench->virtqueue;
    bench->volume_size = SCENE_SIZE;
    lane->reactor = bench->reactor;
    lane->queue = rdisk_initiator_queue(session, 0);
    lane->virtqueues = bench->virtqueues;
    lane->virtqueue_count = 1;
    lane->max_transfer = info->max_transfer;
    lane->limits.block_size = info->block_size;
    lane->size = &bench->volume_size;
    lane->drained_fd = eventfd(0, EFD_CLOEXEC);
    REQUIRE(lane_start(lane) == 0);
}

static uint8_t *header_of(struct bench *bench, uint32_t slot)
{
    return bench->memory + HEADERS + slot * 32;
}

/* Three descriptors, as a Linux guest without indirect ones. */
static void put(struct bench *bench, uint32_t slot, uint64_t offset)
{
    struct vring_desc *desc = (struct vring_desc *)bench->memory + slot * 3;
    struct vring_avail *avail = bench->dev.vq[0].vring.avail;
    uint8_t *header = header_of(bench, slot);
    bool read = bench->op == RDISK_OP_READ;

    *(struct virtio_blk_outhdr *)header = (struct virtio_blk_outhdr) {
        .type = read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
        .sector = offset / 512,
    };
    header[16] = 0xff;
    desc[0] = (struct vring_desc) {
        .addr = (uint64_t)(header - bench->memory),
        .len = 16,
        .flags = VRING_DESC_F_NEXT,
        .next = (uint16_t)(slot * 3 + 1),
    };
    desc[1] = (struct vring_desc) {
        .addr = DATA_AT + slot * bench->size,
        .len = bench->size,
        .flags = (uint16_t)(VRING_DESC_F_NEXT |
                            (read ? VRING_DESC_F_WRITE : 0)),
        .next = (uint16_t)(slot * 3 + 2),
    };
    desc[2] = (struct vring_desc) {
        .addr = (uint64_t)(header + 16 - bench->memory),
        .len = 1,
        .flags = VRING_DESC_F_WRITE,
    };
    avail->ring[bench->avail % RING] = (uint16_t)(slot * 3);
    __atomic_store_n(&avail->idx, ++bench->avail, __ATOMIC_RELEASE);
}

static bool turn_lane(struct bench *bench)
{
    return bench->lane.reactor_queue.turn(&bench->lane.reactor_queue);
}

static void round_of_requests(struct bench *bench, uint64_t done)
{
    const struct vring_used *used = bench->dev.vq[0].vring.used;

    for (uint32_t i = 0; i < bench->depth; i++) {
        put(bench, i, (done + i) * bench->size % SCENE_SIZE);
    }
    bench->used = (uint16_t)(bench->used + bench->depth);
    turn_lane(bench);
    for (unsigned int turns = 0; used->idx != bench->used; turns++) {
        REQUIRE(turns < 1000);
        scene_pump(&bench->scene);
        turn_lane(bench);
    }
    for (uint32_t i = 0; i < bench->depth; i++) {
        REQUIRE(header_of(bench, i)[16] == VIRTIO_BLK_S_OK);
    }
}

/* In the reactor's thread, which the lane and the session are used in. */
static void run(void *argument)
{
    struct bench *bench = argument;
    struct scene_client *client = &bench->scene.clients[0];
    struct rdisk_queue_counters counters = { 0 };
    struct rdisk_error err;

    scene_begin(&bench->scene, 1);
    client->unserved = true;
    REQUIRE(scene_connect(client));
    REQUIRE(rdisk_initiator_register(client->session, bench->memory,
                                     bench->memory_size, &err) == 0);
    begin_device(bench);
    begin_lane(bench);
    for (uint64_t done = 0; done < bench->count; done += bench->depth) {
        round_of_requests(bench, done);
    }
    rdisk_queue_counters(bench->lane.queue, &counters);
    REQUIRE(counters.copied_bytes == 0);
    REQUIRE(counters.ops.count[bench->op] >= bench->count);
    lane_stop(&bench->lane);
    lane_detach(&bench->lane);
    close(bench->lane.drained_fd);
    free(bench->dev.vq[0].inflight);
    bench->dev.vq[0].inflight = NULL;
    bench->dev.nregions = 0;
    vu_deinit(&bench->dev);
    rdisk_initiator_unregister(client->session, bench->memory,
                               bench->memory_size);
    client->unserved = false;
    scene_end(&bench->scene);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    struct rdisk_error err;

    if (argc != 5) {
        fprintf(stderr, "usage: vhost-instructions read|write SIZE DEPTH "
                        "COUNT\n");
        return 2;
    }
    bench.op = strcmp(argv[1], "write") ? RDISK_OP_READ : RDISK_OP_WRITE;
    bench.size = (uint32_t)parse_number("SIZE", argv[2], SCENE_BLOCK, 65536);
    bench.depth = (uint32_t)parse_number("DEPTH", argv[3], 1, DEPTH_MAX);
    bench.count = parse_number("COUNT", argv[4], 1, 1u << 24);
    bench.memory_size = DATA_AT + (size_t)bench.depth * bench.size;
    bench.memory_size = (bench.memory_size + 4095) / 4096 * 4096;
    bench.memory = aligned_alloc(4096, bench.memory_size);
    REQUIRE(bench.memory != NULL);
    memset(bench.memory, 0, bench.memory_size);
    bench.reactor = reactor_create(&rdisk_env_system, 0, 0, &err);
    REQUIRE(bench.reactor != NULL);
    reactor_call(bench.reactor, run, &bench);
    reactor_destroy(bench.reactor);
    free(bench.memory);
    return 0;
}
