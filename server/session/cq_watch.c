/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/container_of.h"
#include "common/thread.h"
#include "server/session/cq_watch.h"

#include <poll.h>
#include <stdlib.h>

struct completion {
    struct worker *worker;
    struct rdisk_target_cq *cq;
    struct completion *next; /* of the worker */
    unsigned int queues;     /* 0: it ends with its poll */
    struct queue *leaving;   /* they wait for that */
    struct ring_op poll;
    bool polling; /* the ring watches the descriptor */
    struct reactor_poller poller;
    bool unarmed; /* the descriptor does not become readable */
};

#define completion_of(pointer, member) \
    container_of(pointer, struct completion, member)

/* ---- The descriptor --------------------------------------------------- */

static void poll_arm(struct completion *completion)
{
    struct io_uring_sqe *sqe = reactor_sqe(completion->worker->reactor,
                                           RING_ORDINARY);

    io_uring_prep_poll_multishot(sqe, rdisk_target_cq_fd(completion->cq),
                                 POLLIN);
    reactor_sqe_set(sqe, &completion->poll);
    completion->polling = true;
}

/* Its own completion is ignored; the poll's last one counts. */
static void poll_disarm(struct completion *completion)
{
    struct io_uring_sqe *sqe = reactor_sqe(completion->worker->reactor,
                                           RING_ORDINARY);

    io_uring_prep_poll_remove(sqe, (__u64)(uintptr_t)&completion->poll);
    io_uring_sqe_set_data(sqe, NULL);
}

static void leave_all(struct completion *completion)
{
    while (completion->leaving) {
        struct queue *queue = completion->leaving;

        completion->leaving = queue->next_leaving;
        queue_leave(queue);
    }
}

static void completion_end(struct completion *completion)
{
    struct completion **link = &completion->worker->completions;

    while (*link != completion) {
        link = &(*link)->next;
    }
    *link = completion->next;
    leave_all(completion);
    free(completion);
}

/* Take completions. If there are more, again before the reactor sleeps. */
static bool serve(struct completion *completion)
{
    bool found = rdisk_target_cq_process(completion->cq) > 0;

    completion->unarmed = rdisk_target_cq_more(completion->cq);
    if (completion->unarmed) {
        reactor_arm_later(completion->worker->reactor);
    }
    return found || completion->unarmed;
}

static void poll_done(struct ring_op *op, int result, unsigned int flags)
{
    struct completion *completion = completion_of(op, poll);
    struct reactor *reactor = completion->worker->reactor;

    if (!(flags & IORING_CQE_F_MORE)) {
        completion->polling = false;
    }
    if (completion->queues) {
        completion->unarmed = reactor_spins(reactor);
        if (completion->unarmed) {
            rdisk_target_cq_poll(completion->cq);
        } else {
            serve(completion);
        }
        if (!completion->polling) {
            poll_arm(completion);
        }
    } else if (completion->polling) {
        /* This event was in flight when the poll was to be removed, which the
         * kernel then refuses (EALREADY). */
        poll_disarm(completion);
    } else {
        completion_end(completion);
    }
}

/* ---- Spinning --------------------------------------------------------- */

static bool poller_poll(struct reactor_poller *poller)
{
    struct completion *completion = completion_of(poller, poller);

    return completion->queues && rdisk_target_cq_poll(completion->cq) > 0;
}

static bool poller_arm(struct reactor_poller *poller)
{
    struct completion *completion = completion_of(poller, poller);

    if (!completion->queues || !completion->unarmed) {
        return false;
    }
    return serve(completion);
}

/* ---- Coming and going ------------------------------------------------- */

struct completion *completion_new(void)
{
    assert_control_thread();
    return calloc(1, sizeof(struct completion));
}

void completion_free(struct completion *completion)
{
    free(completion);
}

struct completion *completion_join(struct queue *queue)
{
    struct worker *worker = queue->worker;
    struct rdisk_target_cq *cq = rdisk_target_queue_cq(queue->target);
    struct completion *completion = worker->completions;

    assert_reactor_thread(NULL);
    while (completion && completion->cq != cq) {
        completion = completion->next;
    }
    if (!completion) {
        completion = queue->spare;
        queue->spare = NULL;
        completion->worker = worker;
        completion->cq = cq;
        completion->poll.done = poll_done;
        completion->poller.poll = poller_poll;
        completion->poller.arm = poller_arm;
        completion->next = worker->completions;
        worker->completions = completion;
        poll_arm(completion);
    }
    if (completion->queues++ == 0) {
        reactor_poller_add(worker->reactor, &completion->poller);
        /* This one keeps the completion queue in use. */
        leave_all(completion);
    }
    return completion;
}

void completion_leave(struct completion *completion, struct queue *queue)
{
    assert_reactor_thread(NULL);
    if (--completion->queues) {
        queue_leave(queue);
        return;
    }
    reactor_poller_remove(completion->worker->reactor, &completion->poller);
    queue->next_leaving = completion->leaving;
    completion->leaving = queue;
    poll_disarm(completion);
}
