/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vhost-user-blk device: a socket to which one VMM at a time connects, and
 * the features, memory and rings that it has set. Everything except the lanes
 * belongs to the disk's thread.
 *
 * Around each message the device's lanes are stopped. A message that takes
 * memory or rings away waits, unread, until nothing is in flight: the VMM
 * waits for its reply so long, and no longer than the session's own time
 * limits (request-timeout, reconnect-delay).
 */
#ifndef VHOST_USER_BLK_DEVICE_H
#define VHOST_USER_BLK_DEVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/loop.h"
#include "vhost-user-blk/virtqueue.h"

/* What a VMM is offered of the disk. */
struct device_geometry {
    uint64_t size;         /* bytes */
    uint32_t block_size;   /* bytes */
    uint32_t optimal_size; /* bytes; 0: unknown */
    bool read_only;
    bool discard, zeroes;
};

struct device_events {
    /* The VMM has started the device: its requests wait for a session. */
    void (*started)(void *opaque);
    /* It has stopped it, or gone: no ring is used, nothing is in flight. */
    void (*stopped)(void *opaque);
    /* A guest begins, or comes by migration: what earlier requests did is no
     * concern of it. Not for a VMM that connects again. */
    void (*fresh)(void *opaque);
    /* Guest memory has come, and is about to go: [address, address + length)
     * of this process. Nothing is in flight when it goes. */
    void (*memory_added)(void *opaque, void *address, size_t length);
    void (*memory_removed)(void *opaque, void *address, size_t length);
    /* In-flight requests should end soon: the VMM has gone, or is to go. */
    void (*abandoned)(void *opaque);
};

struct device_options {
    const struct rdisk_env *env;
    const char *name;        /* of the disk, for messages */
    const char *socket;      /* path */
    unsigned int virtqueues; /* 1…DISK_VIRTQUEUES_MAX, the most offered */
    mode_t mode;             /* of the socket */
    uid_t owner;             /* -1: not changed */
    gid_t group;
};

struct device;

/* @lanes stay the caller's; virtqueue i uses lane i modulo @lane_count. NULL
 * with @err filled. */
struct device *device_create(struct loop *loop,
                             const struct device_options *options,
                             struct lane *lanes, unsigned int lane_count,
                             const struct device_events *events, void *opaque,
                             struct rdisk_error *err);
/* Nothing is in flight. NULL is allowed. */
void device_destroy(struct device *device);

/* Listen at the socket, with what the VMM is offered. 0 or a negative errno. */
int device_listen(struct device *device, const struct device_geometry *geometry,
                  struct rdisk_error *err);
/* Stop listening. */
void device_unlisten(struct device *device);
/* The volume has another size: the guest is notified. */
void device_resized(struct device *device, uint64_t size);

/* The lanes have their queues: take requests. Stopped: take no more. */
void device_go(struct device *device);
/*
 * Take no more requests and messages. When nothing is in flight any more, at
 * once if nothing is, the VMM is disconnected, and events->stopped comes. It
 * may connect again.
 */
void device_finish(struct device *device);
/* After that: what fails now stays in flight in the VMM's table, for its next
 * connection, and events->abandoned comes. */
void device_abandon(struct device *device);
/* Both. */
void device_disconnect(struct device *device);
/* The guest has broken the rules, and the device waits for its reset. */
bool device_held(const struct device *device);

bool device_connected(const struct device *device);
bool device_started(const struct device *device);

/* Calls @function for all of the guest's memory. */
void device_for_each_region(struct device *device,
                            void (*function)(void *opaque, void *address,
                                             size_t length),
                            void *opaque);

#endif
