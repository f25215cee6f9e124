/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/container_of.h"
#include "common/thread.h"
#include "vhost-user-blk/dirty_log.h"
#include "vhost-user-blk/virtqueue.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost_types.h>
#include <linux/virtio_blk.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Requests taken from one virtqueue in one turn. */
#define BUDGET 64u

/* A part of a request that is no longer than a slot. */
struct part {
    struct rdisk_request request;
    struct blk_request *whole;
};

/* A request of the guest; vu_queue_pop() allocates it with its buffers. */
struct blk_request {
    VuVirtqElement element; /* first */
    struct virtqueue *virtqueue;
    struct blk_command command;
    unsigned int parts_left;
    int result;         /* the first error */
    struct part part;   /* of a request in one part */
    struct part *parts; /* of one in several, with their iovecs */
};
static_assert(offsetof(struct blk_request, element) == 0,
              "vu_queue_pop() returns the element");

static struct lane *lane_of(struct reactor_queue *queue)
{
    return container_of(queue, struct lane, reactor_queue);
}

/* ---- The end of a request ----------------------------------------------- */

static void notify_drained(struct lane *lane)
{
    uint64_t one = 1;

    if (write(lane->drained_fd, &one, sizeof(one)) < 0) {
        abort(); /* an eventfd takes 2^64 - 2 of these */
    }
}

/* Bytes that the device has written to the guest's memory. */
static uint32_t written(const struct blk_request *request, uint8_t status)
{
    const struct blk_command *command = &request->command;

    if (command->kind == BLK_TRANSFER && command->op == RDISK_OP_READ) {
        /* A read that failed may have written a part of it. */
        return command->length + 1;
    }
    return command->kind == BLK_IDENTIFY && status == VIRTIO_BLK_S_OK
               ? BLK_SERIAL_SIZE + 1
               : 1;
}

/* It is answered, or kept. */
static void release(struct lane *lane, struct blk_request *request)
{
    free(request->parts);
    free(request);
    if (--lane->in_flight == 0 && !lane->running) {
        notify_drained(lane);
    }
}

/* ---- What a migrating guest's VMM must copy again ------------------------ */

static bool is_migrating(const VuDev *dev)
{
    return dev->log_table && (dev->features >> VHOST_F_LOG_ALL & 1);
}

/* Guest memory in this process, all of it in one region: libvhost-user cuts
 * buffers at the ends of regions. */
static bool mark_dirty(VuDev *dev, const void *address, size_t length)
{
    for (unsigned int i = 0; i < dev->nregions; i++) {
        const VuDevRegion *region = &dev->regions[i];
        uint64_t offset = (uintptr_t)address - region->mmap_addr -
                          region->mmap_offset;

        if (offset < region->size) {
            return dirty_log_mark(dev->log_table, dev->log_size,
                                  region->gpa + offset, length);
        }
    }
    return false;
}

/* The first @length bytes of the request's data. */
static bool mark_data(VuDev *dev, const struct blk_command *command,
                      size_t length)
{
    for (unsigned int i = 0; i < command->data_count && length; i++) {
        const struct iovec *iov = &command->data[i];
        size_t n = iov->iov_len < length ? iov->iov_len : length;

        if (n && !mark_dirty(dev, iov->iov_base, n)) {
            return false;
        }
        length -= n;
    }
    return true;
}

/*
 * The pages that the request has changed, by the buffers that were written:
 * the guest may have changed the descriptors since, and what a failed read has
 * left is not in the used ring's length.
 */
static void mark_request(struct blk_request *request, uint8_t status)
{
    const struct blk_command *command = &request->command;
    VuDev *dev = request->virtqueue->dev;
    size_t length = 0;

    if (command->kind == BLK_TRANSFER && command->op == RDISK_OP_READ) {
        length = command->length;
    } else if (command->kind == BLK_IDENTIFY && status == VIRTIO_BLK_S_OK) {
        length = BLK_SERIAL_SIZE;
    }
    if (!mark_data(dev, command, length) ||
        !mark_dirty(dev, command->status, 1)) {
        dev->broken = true;
        dev->panic(dev, "guest memory is beyond the log of dirty pages");
    }
}

static void finish(struct blk_request *request, uint8_t status)
{
    struct virtqueue *virtqueue = request->virtqueue;
    struct lane *lane = virtqueue->lane;
    VuVirtq *vq = vu_get_queue(virtqueue->dev, (int)virtqueue->index);

    *request->command.status = status;
    if (is_migrating(virtqueue->dev)) {
        mark_request(request, status);
    }
    /* The library would take it from the VMM's in-flight table, and not put it
     * into the used ring. */
    if (virtqueue->dev->broken) {
        release(lane, request);
        return;
    }
    vu_queue_push(virtqueue->dev, vq, &request->element,
                  written(request, status));
    virtqueue->notify = true;
    rdisk_counter_add(&lane->requests, 1);
    if (status != VIRTIO_BLK_S_OK) {
        rdisk_counter_add(&lane->failed, 1);
    }
    release(lane, request);
}

static void part_done(struct rdisk_request *rdisk, int result)
{
    struct part *part = container_of(rdisk, struct part, request);
    struct blk_request *request = part->whole;

    if (result < 0 && request->result == 0) {
        request->result = result;
    }
    if (--request->parts_left > 0) {
        return;
    }
    if (request->result < 0 && request->virtqueue->lane->keeping) {
        release(request->virtqueue->lane, request);
    } else {
        finish(request, blk_status(request->result));
    }
}

/* ---- The beginning ------------------------------------------------------ */

static void submit(struct lane *lane, struct part *part)
{
    int ret = rdisk_queue_submit(lane->queue, &part->request);

    if (ret < 0) {
        part_done(&part->request, ret);
    }
}

/*
 * The next @length bytes of the buffers from *@iov on, at *@skip bytes into
 * the first one. Fills @piece, which has room for all of them; their number.
 */
static unsigned int slice(const struct iovec **iov, size_t *skip, size_t length,
                          struct iovec *piece)
{
    unsigned int count = 0;

    while (length) {
        size_t left = (*iov)->iov_len - *skip;
        size_t n = left < length ? left : length;

        if (n) {
            piece[count++] = (struct iovec) {
                (uint8_t *)(*iov)->iov_base + *skip, n
            };
        }
        length -= n;
        *skip += n;
        if (*skip == (*iov)->iov_len) {
            (*iov)++;
            *skip = 0;
        }
    }
    return count;
}

static void fill(struct part *part, struct blk_request *request,
                 uint64_t offset, uint32_t length)
{
    part->whole = request;
    part->request = (struct rdisk_request) {
        .op = request->command.op,
        .flags = request->command.flags,
        .offset = offset,
        .length = length,
        .complete = part_done,
    };
}

/* Longer than a slot: in several parts, sent together. */
static void transfer_in_parts(struct lane *lane, struct blk_request *request)
{
    const struct blk_command *command = &request->command;
    uint32_t longest = lane->max_transfer;
    unsigned int count = (command->length + longest - 1) / longest;
    const struct iovec *iov = command->data;
    struct part *parts;
    struct iovec *pieces;
    size_t skip = 0;

    /* Each cut between parts adds at most one piece. */
    parts = malloc(count * sizeof(*parts) +
                   (command->data_count + count) * sizeof(*pieces));
    if (!parts) {
        finish(request, VIRTIO_BLK_S_IOERR);
        return;
    }
    request->parts = parts;
    pieces = (struct iovec *)(parts + count);
    for (unsigned int i = 0; i < count; i++) {
        uint32_t done = i * longest;
        uint32_t length = command->length - done < longest
                              ? command->length - done
                              : longest;
        struct part *part = &parts[i];

        fill(part, request, command->offset + done, length);
        part->request.iov = pieces;
        part->request.iovcnt = slice(&iov, &skip, length, pieces);
        pieces += part->request.iovcnt;
    }
    request->parts_left = count;
    /* The request may end with the last of them. */
    for (unsigned int i = 0; i < count; i++) {
        submit(lane, &parts[i]);
    }
}

static void identify(struct lane *lane, struct blk_request *request)
{
    const char *from = lane->serial;
    size_t left = BLK_SERIAL_SIZE;

    for (unsigned int i = 0; left; i++) {
        const struct iovec *iov = &request->command.data[i];
        size_t n = iov->iov_len < left ? iov->iov_len : left;

        memcpy(iov->iov_base, from, n);
        from += n;
        left -= n;
    }
    finish(request, VIRTIO_BLK_S_OK);
}

static void carry_out(struct lane *lane, struct blk_request *request)
{
    struct blk_command *command = &request->command;

    if (command->kind == BLK_IDENTIFY) {
        identify(lane, request);
        return;
    }
    if (command->kind == BLK_TRANSFER && command->length > lane->max_transfer) {
        transfer_in_parts(lane, request);
        return;
    }
    fill(&request->part, request, command->offset, command->length);
    if (command->kind == BLK_TRANSFER) {
        request->part.request.iov = command->data;
        request->part.request.iovcnt = command->data_count;
    }
    request->parts_left = 1;
    submit(lane, &request->part);
}

/* ---- The rings ----------------------------------------------------------- */

/* A request that has no place for its status: nothing can inform the driver but
 * the device's end. */
static void driver_broken(struct virtqueue *virtqueue,
                          struct blk_request *request)
{
    VuDev *dev = virtqueue->dev;

    virtqueue->lane->in_flight--;
    free(request);
    dev->broken = true;
    dev->panic(dev, "a request has no place for its status");
}

static void take(struct virtqueue *virtqueue, struct blk_request *request)
{
    struct lane *lane = virtqueue->lane;
    struct blk_limits limits = lane->limits;
    VuVirtqElement *element = &request->element;
    uint8_t status;

    limits.size = atomic_load_explicit(lane->size, memory_order_relaxed);
    request->virtqueue = virtqueue;
    request->parts = NULL;
    request->result = 0;
    lane->in_flight++;
    status = blk_command_parse(&request->command, element->out_sg,
                               element->out_num, element->in_sg,
                               element->in_num, &limits);
    if (!request->command.status) {
        driver_broken(virtqueue, request);
    } else if (lane->refusing) {
        finish(request, VIRTIO_BLK_S_IOERR);
    } else if (status != VIRTIO_BLK_S_OK) {
        rdisk_counter_add(&lane->refused, 1);
        finish(request, status);
    } else {
        carry_out(lane, request);
    }
}

/* At most BUDGET requests of one virtqueue. True if there was one. */
static bool take_requests(struct virtqueue *virtqueue)
{
    VuVirtq *vq = vu_get_queue(virtqueue->dev, (int)virtqueue->index);
    struct blk_request *request;
    unsigned int count = 0;

    while (count < BUDGET &&
           (request = vu_queue_pop(virtqueue->dev, vq, sizeof(*request)))) {
        take(virtqueue, request);
        count++;
    }
    return count > 0;
}

static bool usable(const struct virtqueue *virtqueue)
{
    return virtqueue->kick_fd >= 0 && !virtqueue->dev->broken;
}

/* One interrupt, at most, for all that a turn has pushed to a virtqueue. */
static void notify(struct lane *lane)
{
    for (unsigned int i = 0; i < lane->virtqueue_count; i++) {
        struct virtqueue *virtqueue = lane->virtqueues[i];

        if (virtqueue->notify) {
            virtqueue->notify = false;
            vu_queue_notify(virtqueue->dev,
                            vu_get_queue(virtqueue->dev,
                                         (int)virtqueue->index));
        }
    }
}

static bool turn(struct reactor_queue *reactor_queue)
{
    struct lane *lane = lane_of(reactor_queue);
    bool work;

    if (lane->held) {
        return false;
    }
    work = lane->queue && rdisk_queue_poll(lane->queue) > 0;
    if (lane->running) {
        for (unsigned int i = 0; i < lane->virtqueue_count; i++) {
            if (usable(lane->virtqueues[i])) {
                work = take_requests(lane->virtqueues[i]) || work;
            }
        }
    }
    if (lane->running && lane->queue) {
        rdisk_queue_kick(lane->queue);
    }
    notify(lane);
    return work;
}

static void set_notification(struct lane *lane, int enable)
{
    for (unsigned int i = 0; i < lane->virtqueue_count; i++) {
        struct virtqueue *virtqueue = lane->virtqueues[i];

        if (lane->running && usable(virtqueue)) {
            vu_queue_set_notification(virtqueue->dev,
                                      vu_get_queue(virtqueue->dev,
                                                   (int)virtqueue->index),
                                      enable);
        }
    }
}

static void disarm(struct reactor_queue *reactor_queue)
{
    struct lane *lane = lane_of(reactor_queue);
    eventfd_t count;

    for (unsigned int i = 0; i < lane->virtqueue_count; i++) {
        if (lane->virtqueues[i]->kick_fd >= 0) {
            eventfd_read(lane->virtqueues[i]->kick_fd, &count);
        }
    }
    set_notification(lane, 0);
    if (lane->queue) {
        rdisk_queue_drain_events(lane->queue);
    }
}

/* What came between the last poll and the arming would not be reported. */
static bool arm(struct reactor_queue *reactor_queue)
{
    struct lane *lane = lane_of(reactor_queue);
    bool more = false;

    if (lane->held) {
        return false; /* lane_hold() activates it again */
    }
    set_notification(lane, 1);
    if (lane->queue) {
        rdisk_queue_arm(lane->queue);
        more = rdisk_queue_pending(lane->queue);
    }
    for (unsigned int i = 0; i < lane->virtqueue_count && !more; i++) {
        struct virtqueue *virtqueue = lane->virtqueues[i];

        more = lane->running && usable(virtqueue) &&
               !vu_queue_empty(virtqueue->dev,
                               vu_get_queue(virtqueue->dev,
                                            (int)virtqueue->index));
    }
    if (more) {
        set_notification(lane, 0);
    }
    return more;
}

/* ---- Starting and stopping ----------------------------------------------- */

/*
 * The VMM's eventfd, which libvhost-user closes while it handles a message.
 * epoll(7) goes by what is behind a descriptor, which the VMM keeps open: only
 * a descriptor of our own can be taken out again for sure.
 */
static int watch_kicks(struct virtqueue *virtqueue)
{
    struct lane *lane = virtqueue->lane;
    VuVirtq *vq = vu_get_queue(virtqueue->dev, (int)virtqueue->index);
    int ret;

    if (!vu_queue_started(virtqueue->dev, vq) ||
        !vu_queue_enabled(virtqueue->dev, vq) || vq->kick_fd < 0) {
        return 0;
    }
    virtqueue->kick_fd = fcntl(vq->kick_fd, F_DUPFD_CLOEXEC, 0);
    if (virtqueue->kick_fd < 0) {
        return -errno;
    }
    fcntl(virtqueue->kick_fd, F_SETFL,
          fcntl(virtqueue->kick_fd, F_GETFL) | O_NONBLOCK);
    ret = reactor_watch(lane->reactor, virtqueue->kick_fd,
                        &lane->reactor_queue);
    if (ret < 0) {
        close(virtqueue->kick_fd);
        virtqueue->kick_fd = -1;
    }
    return ret;
}

int lane_start(struct lane *lane)
{
    int ret = 0;

    assert_reactor_thread(lane->reactor);
    assert(!lane->running && (lane->queue || lane->refusing));
    lane->reactor_queue.turn = turn;
    lane->reactor_queue.arm = arm;
    lane->reactor_queue.disarm = disarm;
    if (lane->queue && !lane->attached) {
        ret = reactor_watch(lane->reactor, rdisk_queue_fd(lane->queue),
                            &lane->reactor_queue);
        lane->attached = ret == 0;
    }
    lane->running = true;
    lane->keeping = false;
    for (unsigned int i = 0; i < lane->virtqueue_count && ret == 0; i++) {
        ret = watch_kicks(lane->virtqueues[i]);
    }
    if (ret < 0) {
        lane_stop(lane);
        return ret;
    }
    /* What is in the rings already was announced before. */
    reactor_activate(lane->reactor, &lane->reactor_queue);
    return 0;
}

void lane_stop(struct lane *lane)
{
    assert_reactor_thread(lane->reactor);
    notify(lane);
    for (unsigned int i = 0; i < lane->virtqueue_count; i++) {
        struct virtqueue *virtqueue = lane->virtqueues[i];

        if (virtqueue->kick_fd >= 0) {
            reactor_unwatch(lane->reactor, virtqueue->kick_fd);
            close(virtqueue->kick_fd);
            virtqueue->kick_fd = -1;
        }
    }
    lane->running = false;
}

void lane_keep(struct lane *lane)
{
    assert_reactor_thread(lane->reactor);
    assert(!lane->running);
    lane->keeping = true;
}

void lane_hold(struct lane *lane, bool held)
{
    assert_reactor_thread(lane->reactor);
    assert(!lane->running);
    lane->held = held;
    if (!held && lane->attached) {
        reactor_activate(lane->reactor, &lane->reactor_queue);
    }
}

void lane_detach(struct lane *lane)
{
    assert_reactor_thread(lane->reactor);
    assert(!lane->running && lane->in_flight == 0);
    if (lane->attached) {
        reactor_unwatch(lane->reactor, rdisk_queue_fd(lane->queue));
        rdisk_queue_detach(lane->queue);
        lane->attached = false;
    }
    reactor_remove(lane->reactor, &lane->reactor_queue);
    lane->queue = NULL;
    lane->refusing = false;
}
