/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/container_of.h"
#include "common/thread.h"
#include "server/io/cq_watch.h"

#include <poll.h>
#include <stdlib.h>

struct cq_watch {
    struct reactor *reactor;
    struct rdisk_target_cq *cq;
    struct cq_watch **list; /* of its reactor */
    struct cq_watch *next;
    unsigned int users;      /* 0: it ends with its poll */
    struct cq_user *leaving; /* they wait for that */
    struct ring_op poll;
    bool polling; /* the ring watches the descriptor */
    struct reactor_poller poller;
    bool unarmed; /* the descriptor does not become readable */
};

/* ---- The descriptor --------------------------------------------------- */

static void poll_arm(struct cq_watch *watch)
{
    struct io_uring_sqe *sqe = reactor_sqe(watch->reactor, RING_ORDINARY);

    io_uring_prep_poll_multishot(sqe, rdisk_target_cq_fd(watch->cq), POLLIN);
    reactor_sqe_set(sqe, &watch->poll);
    watch->polling = true;
}

/* Its own completion is ignored; the poll's last one counts. */
static void poll_disarm(struct cq_watch *watch)
{
    struct io_uring_sqe *sqe = reactor_sqe(watch->reactor, RING_ORDINARY);

    io_uring_prep_poll_remove(sqe, (__u64)(uintptr_t)&watch->poll);
    io_uring_sqe_set_data(sqe, NULL);
}

static void leave_all(struct cq_watch *watch)
{
    while (watch->leaving) {
        struct cq_user *user = watch->leaving;

        watch->leaving = user->next;
        user->left(user);
    }
}

static void end(struct cq_watch *watch)
{
    struct cq_watch **link = watch->list;

    while (*link != watch) {
        link = &(*link)->next;
    }
    *link = watch->next;
    leave_all(watch);
    free(watch);
}

/* Take completions. If there are more, again before the reactor sleeps. */
static bool serve(struct cq_watch *watch)
{
    bool found = rdisk_target_cq_process(watch->cq) > 0;

    watch->unarmed = rdisk_target_cq_more(watch->cq);
    if (watch->unarmed) {
        reactor_arm_later(watch->reactor);
    }
    return found || watch->unarmed;
}

static void poll_done(struct ring_op *op, int result, unsigned int flags)
{
    struct cq_watch *watch = container_of(op, struct cq_watch, poll);
    struct reactor *reactor = watch->reactor;

    if (!(flags & IORING_CQE_F_MORE)) {
        watch->polling = false;
    }
    if (watch->users) {
        watch->unarmed = reactor_spins(reactor);
        if (watch->unarmed) {
            rdisk_target_cq_poll(watch->cq);
        } else {
            serve(watch);
        }
        if (!watch->polling) {
            poll_arm(watch);
        }
    } else if (watch->polling) {
        /* This event was in flight when the poll was to be removed, which the
         * kernel then refuses (EALREADY). */
        poll_disarm(watch);
    } else {
        end(watch);
    }
}

/* ---- Spinning --------------------------------------------------------- */

static bool poller_poll(struct reactor_poller *poller)
{
    struct cq_watch *watch = container_of(poller, struct cq_watch, poller);

    return watch->users && rdisk_target_cq_poll(watch->cq) > 0;
}

static bool poller_arm(struct reactor_poller *poller)
{
    struct cq_watch *watch = container_of(poller, struct cq_watch, poller);

    if (!watch->users || !watch->unarmed) {
        return false;
    }
    return serve(watch);
}

/* ---- Users ------------------------------------------------------------- */

struct cq_watch *cq_watch_new(void)
{
    return calloc(1, sizeof(struct cq_watch));
}

void cq_watch_free(struct cq_watch *watch)
{
    free(watch);
}

static void begin(struct cq_watch *watch, struct cq_watch **list,
                  struct reactor *reactor, struct rdisk_target_cq *cq)
{
    watch->reactor = reactor;
    watch->cq = cq;
    watch->poll.done = poll_done;
    watch->poller.poll = poller_poll;
    watch->poller.arm = poller_arm;
    watch->list = list;
    watch->next = *list;
    *list = watch;
    poll_arm(watch);
}

void cq_watch_join(struct cq_watch **list, struct reactor *reactor,
                   struct rdisk_target_cq *cq, struct cq_user *user)
{
    struct cq_watch *watch = *list;

    assert_reactor_thread(NULL);
    while (watch && watch->cq != cq) {
        watch = watch->next;
    }
    if (!watch) {
        watch = user->spare;
        user->spare = NULL;
        begin(watch, list, reactor, cq);
    }
    user->watch = watch;
    if (watch->users++ == 0) {
        reactor_poller_add(reactor, &watch->poller);
        /* This one keeps the completion queue in use. */
        leave_all(watch);
    }
}

void cq_watch_leave(struct cq_user *user)
{
    struct cq_watch *watch = user->watch;

    assert_reactor_thread(NULL);
    if (--watch->users) {
        user->left(user);
        return;
    }
    reactor_poller_remove(watch->reactor, &watch->poller);
    user->next = watch->leaving;
    watch->leaving = user;
    poll_disarm(watch);
}
