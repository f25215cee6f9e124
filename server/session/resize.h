/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Volumes that change their size while they are open, and what they take up:
 * operations on the volume, since both ask its storage. Control thread.
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
     * durable, and all sessions that have the volume know. @resize may be
     * freed.
     */
    void (*done)(struct resize *resize);
    void *opaque; /* @done's */
    /* Whose client has asked; NULL: an administrator has, or it has left. */
    struct session *session;

    /* The rest belongs to resize.c. */
    enum rdisk_status status; /* for the client */
    struct lease_record record;
    bool smaller; /* its session's requests are held against @size already */
    bool asking;  /* from within resize_event() */
};

/* Wait for the turn of its name, and carry it out; @done perhaps from within. */
void resize_start(struct resize *resize);

/* For struct rdisk_target_events. */
enum rdisk_status resize_event(void *opaque, void *user, uint64_t size,
                               bool shrink, struct rdisk_error *err);
enum rdisk_status resize_stat_event(void *opaque, void *user,
                                    uint64_t *allocated,
                                    struct rdisk_error *err);
/* The session is gone: what it has asked for has no answer any more. */
void resize_leave(struct session *session);

/* May a client that writes this volume resize it? */
bool resize_allowed(const struct server *server, const struct volume *volume);

#endif
