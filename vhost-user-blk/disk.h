/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk: a volume of a server, offered to a VMM as a vhost-user-blk device.
 *
 * The volume is opened to write only while a VMM has the device started, so
 * that a guest can migrate: its destination takes the volume when its source
 * has let it go. Before, a short read-only session finds out what the VMM asks
 * for first: size, blocks, and what the volume can do.
 *
 * All functions belong to the control thread.
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
};

const char *disk_state_name(enum disk_state state);

struct disk;

/*
 * Takes @options over, also when it fails. The disk uses queue i of its
 * session on reactor i modulo @reactor_count.
 */
struct disk *disk_create(const struct rdisk_env *env, struct loop *loop,
                         struct reactor *const *reactors,
                         unsigned int reactor_count,
                         struct disk_options *options, struct rdisk_error *err);
/*
 * Cut the VMM off, let nobody connect, close the session: disk_gone() is true
 * when that is done, at the latest when the requests in flight have met their
 * time limits.
 */
void disk_remove(struct disk *disk);
bool disk_gone(const struct disk *disk);
/* Only when it is gone. */
void disk_destroy(struct disk *disk);

struct disk_info {
    const char *name, *uri, *socket;
    enum disk_state state;
    const char *error; /* the last one, "" if none */
    bool connected;    /* a VMM is */
    uint64_t size;     /* bytes; 0: not known yet */
    uint32_t block_size;
    uint64_t requests, failed, refused; /* of the guest, since the start */
    struct rdisk_queue_counters queues; /* of the session */
    uint64_t reconnects;
};
void disk_get_info(const struct disk *disk, struct disk_info *info);

#endif
