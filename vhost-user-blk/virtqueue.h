/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues on their way to librdisk. A *lane* is one data queue of a disk's
 * session with the virtqueues that use it; a reactor serves it. Requests come
 * from the guest's rings, go to the server from the guest's own memory, and
 * end in the used ring when they are answered.
 *
 * libvhost-user reads and writes the rings. It has no locks: its control side
 * (messages of the VMM) and its ring side never run at the same time, since
 * the control thread stops the lanes of a device around each message, and holds
 * them while the library handles it: requests in flight end before or after.
 */
#ifndef VHOST_USER_BLK_VIRTQUEUE_H
#define VHOST_USER_BLK_VIRTQUEUE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "transport/base/counter.h"
#include <rdisk/initiator.h>

#include <libvhost-user.h>
#include "vhost-user-blk/reactor.h"
#include "vhost-user-blk/request.h"

struct lane;

struct virtqueue {
    struct lane *lane;
    VuDev *dev;
    unsigned int index;
    int kick_fd; /* a duplicate, watched; -1: none */
    bool notify; /* pushed to since the last notification */
};

struct lane {
    struct reactor_queue reactor_queue;
    struct reactor *reactor;
    struct rdisk_queue *queue;     /* NULL: there is no session */
    struct virtqueue **virtqueues; /* those on this lane */
    unsigned int virtqueue_count;
    uint32_t max_transfer;        /* bytes: the longest part */
    struct blk_limits limits;     /* but for the size, which may change */
    const _Atomic uint64_t *size; /* of the volume, bytes */
    char serial[BLK_SERIAL_SIZE];
    bool refusing;          /* there is no session and none to come: every
                               request fails */
    bool keeping;           /* what fails stays in the VMM's in-flight table,
                               for the next connection to send again */
    bool running;           /* requests are taken from the rings */
    bool held;              /* nor is the used ring touched */
    bool attached;          /* the queue's descriptor is watched */
    unsigned int in_flight; /* taken and not in the used ring */
    /* When in_flight falls to 0 while not running: notify the control
     * thread. */
    int drained_fd; /* eventfd */

    /* Written by the reactor, readable by any thread. */
    rdisk_counter requests; /* answered */
    rdisk_counter failed;   /* of these, with an error */
    rdisk_counter refused;  /* of these, by the checks of request.h */
};

/*
 * All of these in the reactor's thread, that is by reactor_call().
 *
 * Start takes requests of the started and enabled virtqueues. Stop takes no
 * more; what is in flight goes on. -errno, with the lane stopped, if a
 * descriptor cannot be watched.
 */
int lane_start(struct lane *lane);
void lane_stop(struct lane *lane);
/* A request that fails from now on is kept, not failed, until the next
 * start. */
void lane_keep(struct lane *lane);
/* A stopped lane ends no request, and uses nothing of libvhost-user, until
 * it is released. */
void lane_hold(struct lane *lane, bool held);
/* Nothing is in flight and no more comes: @lane->queue may go. */
void lane_detach(struct lane *lane);

#endif
