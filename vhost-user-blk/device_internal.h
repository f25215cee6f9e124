/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device as its own files see it: device.c (what the VMM is offered, and the
 * device's life), listener.c (its socket), connection.c (the VMM's connection,
 * and the lanes around its messages), receive.c (one message from it),
 * message.c (which messages are accepted), guest_memory.c (the memory table).
 * All of it is the thread's of the disk, but for @broken and @drained_fd.
 */
#ifndef VHOST_USER_BLK_DEVICE_INTERNAL_H
#define VHOST_USER_BLK_DEVICE_INTERNAL_H

#include <assert.h>
#include <stddef.h>
#include <sys/un.h>

#include "common/container_of.h"
#include "vhost-user-blk/device.h"

struct device {
    VuDev vu; /* first: callbacks get a pointer to it */
    const struct rdisk_env *env;
    struct loop *loop;
    char *name;
    struct sockaddr_un address;
    mode_t mode;
    uid_t owner;
    gid_t group;
    struct loop_source listening, resuming, messages, draining;
    int listen_fd;
    int pause_fd;   /* timerfd: when to accept again */
    int last_fd;    /* keeps vu.sock open until other files are closed */
    int drained_fd; /* eventfd: a lane has nothing in flight, or
                                   the rings are broken */
    bool pausing;   /* the last attempt to accept has failed */
    bool connected; /* vu is initialised */
    bool waiting;   /* a message waits until nothing is in flight */
    bool leaving;   /* so does the end of the connection */
    bool going;     /* lanes take requests between messages */
    bool started;   /* events->started was called */
    bool new_table; /* this connection has asked for a table of requests in
                       flight */
    bool again;     /* it has brought one instead, of an earlier connection */
    struct device_geometry geometry;
    struct lane *lanes;
    unsigned int lane_count;
    struct virtqueue *virtqueues;
    unsigned int virtqueue_count;
    const struct device_events *events;
    void *opaque;
    /* The regions that events->memory_added has reported. */
    struct {
        void *address;
        size_t length;
    } known[VHOST_USER_MAX_RAM_SLOTS];
    unsigned int known_count;
    atomic_bool rings_broken;     /* by the guest, in this connection */
    bool held, hold_logged;       /* the guest has broken the rings */
    uint64_t violation_logged;    /* rdisk_now(); 0: never */
    unsigned int violations;      /* that were not logged since */
    _Atomic(const char *) broken; /* why, by whichever thread */
    char broken_text[200];
};
static_assert(offsetof(struct device, vu) == 0, "callbacks get the VuDev");

static inline struct device *device_of(VuDev *vu)
{
    return (struct device *)vu;
}

#define SOURCE_DEVICE(source, member) \
    container_of(source, struct device, member)

/* ---- device.c: libvhost-user's questions --------------------------------- */

extern const VuDevIface device_iface;

/* ---- message.c ----------------------------------------------------------- */

/* Before libvhost-user handles it. Nonzero: it must not. */
int message_process(VuDev *vu, VhostUserMsg *message, int *do_reply);
/* Whether @request takes memory or rings away that requests in flight may
 * use. */
bool message_needs_idle(uint32_t request);
void message_close_fds(VhostUserMsg *message);

/* ---- receive.c ----------------------------------------------------------- */

/* One message of the VMM, for libvhost-user. False: the connection has
 * failed. */
bool message_receive(VuDev *vu, int socket, VhostUserMsg *message);

/* ---- guest_memory.c ------------------------------------------------------ */

/* Reports what the last message has added. */
void guest_memory_added(struct device *device);
/* A region of the table, or all of it, is about to be unmapped. */
void guest_memory_remove(struct device *device,
                         const VhostUserMemoryRegion *going);
void guest_memory_remove_all(struct device *device);
/* Find the rings of all started virtqueues in the memory table again. False:
 * one of them is not in it, each part in one region. */
bool guest_memory_find_rings(struct device *device);
/* The same of one virtqueue, started or not. */
bool guest_memory_find_ring(struct device *device, unsigned int index);

/* ---- connection.c -------------------------------------------------------- */

/* A connection's first failure, which ends it. Any thread. */
void connection_panic(VuDev *vu, const char *text);
/* Serve the VMM at @fd, which is taken over. */
void connection_begin(struct device *device, int fd);
void connection_message_ready(struct loop_source *source, uint32_t events);
void connection_drained(struct loop_source *source, uint32_t events);
/* Returns the number of requests in flight. */
unsigned int connection_stop_lanes(struct device *device);
void connection_start_lanes(struct device *device);
/* The VMM is to read the config space again. */
void connection_announce_config(struct device *device);

/* ---- listener.c ---------------------------------------------------------- */

void listener_ready(struct loop_source *source, uint32_t events);
void listener_resume(struct loop_source *source, uint32_t events);

#endif
