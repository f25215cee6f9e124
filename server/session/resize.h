/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changing a volume's size while it is open, and measuring its space:
 * operations on the volume, since both use its storage. Control thread.
 */
#ifndef RDISK_SERVER_SESSION_RESIZE_H
#define RDISK_SERVER_SESSION_RESIZE_H

#include "server/session/session.h"

/* All zero but for what comes first. */
struct resize {
    struct volume_operation work; /* first; the name, and late() if wanted */
    struct server *server;
    uint64_t size; /* bytes */
    bool shrink;   /* may be smaller than now */
    /*
     * It has ended, with work.result: 0, or a negative errno with work.why. 0:
     * durable, and all sessions that have the volume were informed. @resize may
     * be freed.
     */
    void (*done)(struct resize *resize);
    void *opaque; /* @done's */
    /* Of the client's RESIZE; NULL: an administrator's, or it has ended. */
    struct session *session;

    /* The rest belongs to resize.c. */
    enum rdisk_status status; /* for the client */
    struct lease_record record;
    bool smaller; /* its session's requests are held against @size already */
    bool asking;  /* from within resize_event() */
};

/* Wait for the turn of its name, and carry it out; @done perhaps from
 * within. */
void resize_start(struct resize *resize);

/* For struct rdisk_target_events. */
enum rdisk_status resize_event(void *opaque, void *user, uint64_t size,
                               bool shrink, struct rdisk_error *err);
enum rdisk_status resize_stat_event(void *opaque, void *user,
                                    uint64_t *allocated,
                                    struct rdisk_error *err);
/* The session has ended: its RESIZE gets no answer. */
void resize_leave(struct session *session);

/* True if a client that writes this volume may resize it. */
bool resize_allowed(const struct server *server, const struct volume *volume);

#endif
