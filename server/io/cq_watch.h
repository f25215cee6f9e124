/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A completion queue on its reactor, watched from the start of the first of its
 * users to the end of the last one: its descriptor by the ring, and by polling
 * while the reactor spins.
 */
#ifndef RDISK_SERVER_IO_CQ_WATCH_H
#define RDISK_SERVER_IO_CQ_WATCH_H

#include "server/io/reactor.h"
#include <rdisk/target.h>

struct cq_watch;

/* A queue pair's part in it; in the caller's memory. */
struct cq_user {
    struct cq_watch *watch;
    struct cq_watch *spare; /* cq_watch_new(); NULL: it was needed */
    /* Reactor thread: nothing of it will complete any more. */
    void (*left)(struct cq_user *user);
    struct cq_user *next;
};

/* Any thread: memory for the watch that a user may be the first of. NULL:
 * there is none. */
struct cq_watch *cq_watch_new(void);
void cq_watch_free(struct cq_watch *watch);

/*
 * Reactor thread: @user, with its spare and left set, uses @cq from now on. Its
 * watch is the one of @cq in @list, which has those of @reactor, or the spare
 * memory becomes that.
 */
void cq_watch_join(struct cq_watch **list, struct reactor *reactor,
                   struct rdisk_target_cq *cq, struct cq_user *user);
/* Reactor thread: it runs left() at once, or when the ring has released the
 * descriptor, which ends with the last user. */
void cq_watch_leave(struct cq_user *user);

#endif
