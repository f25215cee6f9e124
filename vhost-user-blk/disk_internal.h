/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk as its own files see it: disk.c (its life, and what is reported of
 * it), disk_session.c (when the volume is open, and what the device's events
 * mean for that). The control thread's.
 */
#ifndef VHOST_USER_BLK_DISK_INTERNAL_H
#define VHOST_USER_BLK_DISK_INTERNAL_H

#include "server/container_of.h"
#include "vhost-user-blk/disk.h"

struct disk {
    const struct rdisk_env *env;
    struct loop *loop;
    struct disk_options options;
    enum disk_state state;
    bool removing;
    struct rdisk_error error;        /* the last one that was logged */
    struct rdisk_initiator *session; /* NULL: none */
    struct loop_source session_source, retry_source;
    int retry_fd; /* timerfd: when to try again */
    unsigned int retry_ms;
    struct device_geometry geometry; /* size 0: not known yet */
    _Atomic uint64_t size;           /* the same size, for the lanes */
    struct lane *lanes;
    unsigned int lane_count;
    struct device *device;
    struct rdisk_client client; /* who it is to the server */
    char *record;               /* path of the same */
    bool memory_told;           /* that guest memory cannot be registered */
};

/* ---- disk_session.c -------------------------------------------------------- */

extern const struct device_events disk_device_events;

void disk_session_init(struct disk *disk);
/* Read what the volume is, or open it, and try until that succeeds. */
void disk_session_start(struct disk *disk, enum disk_state state);
void disk_session_drop(struct disk *disk);
void disk_session_no_retry(struct disk *disk);

#endif
