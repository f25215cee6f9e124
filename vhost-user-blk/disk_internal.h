/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk as its own files see it: disk.c (its life, its thread, and what is
 * reported of it), disk_session.c (when the volume is open, and what the
 * device's events mean for that).
 */
#ifndef VHOST_USER_BLK_DISK_INTERNAL_H
#define VHOST_USER_BLK_DISK_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/container_of.h"
#include "vhost-user-blk/disk.h"

struct disk {
    const struct rdisk_env *env;
    struct disk_options options; /* not changed after creation */

    /* The thread, and requests of others to it. */
    struct loop loop;
    pthread_t thread;
    struct loop_source wake_source;
    int wake_fd;       /* eventfd: @asked is not empty */
    atomic_uint asked; /* enum disk_request, bit by bit */
    int home_fd;       /* eventfd of the disk's creator */
    atomic_bool ended; /* the thread has; home_fd was written to */

    /* What others may see, under the lock, which is never held for long. */
    pthread_mutex_t lock;
    struct disk_report report;
    struct rdisk_initiator *counted;     /* the open session; NULL: none */
    const struct rdisk_queue **counting; /* its queues, lane by lane */

    /* The rest is the disk's thread's. */
    enum disk_state state;
    bool removing;            /* permanently */
    bool draining;            /* until disk_ask(DISK_RESUME) */
    bool ending;              /* either has begun */
    uint64_t abandon_at;      /* rdisk_now(): what is in flight then stays
                                        in the VMM's table; RDISK_NEVER */
    struct rdisk_error error; /* the last one that was logged */
    struct rdisk_initiator *session; /* NULL: none */
    struct loop_source session_source, retry_source;
    int retry_fd; /* timerfd: when to try again */
    unsigned int retry_ms;
    struct device_geometry geometry; /* size 0: not known yet */
    _Atomic uint64_t size;           /* the same size, for the lanes */
    struct lane *lanes;
    unsigned int lane_count;
    struct device *device;
    struct rdisk_client client; /* its identity as a client; epoch 0: not
                                   read */
    char *record;               /* path of the same */
    bool memory_reported;       /* that guest memory cannot be registered */
};

/* ---- disk.c -------------------------------------------------------------- */

/* Let others see how the disk is: after each turn, and before what may take its
 * time. */
void disk_publish(struct disk *disk);

/* ---- disk_session.c ------------------------------------------------------ */

extern const struct device_events disk_device_events;

void disk_session_init(struct disk *disk);
/* Read what the volume is, or open it, and try until that succeeds. */
void disk_session_start(struct disk *disk, enum disk_state state);
void disk_session_drop(struct disk *disk);
void disk_session_no_retry(struct disk *disk);

#endif
