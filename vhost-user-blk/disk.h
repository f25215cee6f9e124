/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk: a volume of a server, offered to a VMM as a vhost-user-blk device.
 *
 * The volume is opened to write only while a VMM has the device started, so
 * that a guest can migrate: its destination opens the volume when its source
 * has closed it. Before, a short read-only session reads what the VMM needs
 * first: size, block size, and operations of the volume.
 *
 * Each disk has a thread: name look-ups, registration of guest memory, the
 * client record and a VMM that is slow make no other disk wait. All functions
 * are for the thread that has created the disk.
 */
#ifndef VHOST_USER_BLK_DISK_H
#define VHOST_USER_BLK_DISK_H

#include <rdisk/initiator.h>

#include "vhost-user-blk/device.h"
#include "vhost-user-blk/disk_options.h"
#include "vhost-user-blk/reactor.h"

enum disk_state {
    DISK_PROBING, /* a read-only session finds out what the volume is */
    DISK_IDLE,    /* no session: no VMM has started the device */
    DISK_OPENING, /* the VMM's requests wait for the session */
    DISK_OPEN,    /* requests flow, or wait for a lost connection */
    DISK_FAILED,  /* requests fail: the session is over */
    DISK_CLOSING, /* the session ends */
    DISK_DRAINED, /* no session, no VMM, no socket, until it is resumed */
};

const char *disk_state_name(enum disk_state state);

struct disk;

/*
 * Takes @options over, also when it fails. The disk uses queue i of its
 * session on reactor i modulo @reactor_count. @home_fd is an eventfd: 1 is
 * added to it when the disk has ended. The caller's thread waits for nothing:
 * what fails later is in the report.
 */
struct disk *disk_create(const struct rdisk_env *env, int home_fd,
                         struct reactor *const *reactors,
                         unsigned int reactor_count,
                         struct disk_options *options, struct rdisk_error *err);

/*
 * Requests to a disk. To drain and to remove it: take no more requests of the
 * guest, complete those in flight, for DISK_GRACE_MS at most, disconnect the
 * VMM, stop listening, and close the session, so that another daemon may have
 * the volume and the socket. Requests that a lost connection has kept from
 * completing stay in the VMM's in-flight table.
 */
enum disk_request {
    DISK_REMOVE = 1, /* permanently: disk_ended() */
    DISK_DRAIN = 2,  /* DISK_DRAINED */
    DISK_RESUME = 4, /* the opposite of DISK_DRAIN */
};
#define DISK_GRACE_MS 10000u

void disk_ask(struct disk *disk, enum disk_request request);
/* It was removed, and its thread has ended. */
bool disk_ended(const struct disk *disk);
/* Only then. */
void disk_destroy(struct disk *disk);

/* As of the end of the last turn of the disk's thread. */
struct disk_report {
    enum disk_state state;
    struct rdisk_error error; /* the last one; text "" if none */
    bool connected;           /* a VMM is */
    bool held;     /* the guest has broken the rules: device_held() */
    uint64_t size; /* bytes; 0: not known yet */
    uint32_t block_size;
};

struct disk_info {
    const char *name, *uri, *socket; /* the disk's */
    struct disk_report report;
    uint64_t requests, failed, refused; /* of the guest, since the start */
    struct rdisk_queue_counters queues; /* of the session */
    uint64_t reconnects;
};
void disk_get_info(struct disk *disk, struct disk_info *info);

#endif
