/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A backend's context on a reactor, shared by the queues that the volume has
 * there. Each of their requests passes here on its way to the backend, and is
 * counted; a barrier (barrier.h) keeps them instead. The reactor's thread.
 */
#ifndef RDISK_SERVER_SESSION_ATTACHMENT_H
#define RDISK_SERVER_SESSION_ATTACHMENT_H

#include "server/backends/backend.h"

struct barrier_hold;
struct worker;

struct attachment {
    struct backend *backend;
    struct backend_context *context;
    unsigned int queues;
    unsigned int requests;     /* that the backend has */
    struct barrier_hold *hold; /* keeps new ones; NULL: none does */
    struct attachment *next;   /* of its worker */
};

/* For one more queue. NULL, which is logged: no memory, or the backend cannot
 * join. */
struct attachment *attachment_get(struct worker *worker,
                                  struct backend *backend);
/* One queue less; no request of it is left. NULL is allowed. */
void attachment_put(struct worker *worker, struct attachment *attachment);
struct attachment *attachment_find(const struct worker *worker,
                                   const struct backend *backend);

/* barrier.c: keep @io; the last request has been completed. */
void barrier_keep(struct barrier_hold *hold, struct backend_io *io);
void barrier_idle(struct barrier_hold *hold);
/* The barrier that holds @backend at @worker, whose context is new there. */
struct barrier_hold *barrier_find(const struct worker *worker,
                                  const struct backend *backend);

/* backend_submit(), now or when the barrier is released. */
static inline void attachment_submit(struct attachment *attachment,
                                     struct backend_io *io)
{
    if (attachment->hold) {
        barrier_keep(attachment->hold, io);
        return;
    }
    attachment->requests++;
    backend_submit(attachment->context, io);
}

/* One of them has been completed. */
static inline void attachment_completed(struct attachment *attachment)
{
    if (--attachment->requests == 0 && attachment->hold) {
        barrier_idle(attachment->hold);
    }
}

#endif
