/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/barrier.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/container_of.h"
#include "common/thread.h"
#include "server/server.h"
#include "server/session/attachment.h"
#include "server/session/queue.h"

/*
 * A barrier at one reactor. Its messages are four since an early release may
 * overtake none of them: each is sent once.
 */
struct barrier_hold {
    struct barrier *barrier;
    struct worker *worker;
    struct message hold, release;  /* to the reactor */
    struct message idle, released; /* from there */

    /* The reactor's. */
    uint64_t since; /* rdisk_now() */
    struct backend_io *first, **last;
    struct barrier_hold *next; /* of the worker */

    uint64_t pause; /* ns; the control thread's, once it is released */
};

static uint64_t now(void)
{
    return rdisk_now(&rdisk_env_system);
}

/* ---- At a reactor -------------------------------------------------------- */

struct barrier_hold *barrier_find(const struct worker *worker,
                                  const struct backend *backend)
{
    struct barrier_hold *hold = worker->holds;

    while (hold && hold->barrier->backend != backend) {
        hold = hold->next;
    }
    return hold;
}

void barrier_keep(struct barrier_hold *hold, struct backend_io *io)
{
    io->next = NULL;
    *hold->last = io;
    hold->last = &io->next;
}

void barrier_idle(struct barrier_hold *hold)
{
    mailbox_send(&hold->barrier->server->mailbox, &hold->idle);
}

static void hold_run(struct message *message)
{
    struct barrier_hold *hold = container_of(message, struct barrier_hold,
                                             hold);
    struct worker *worker = hold->worker;
    struct attachment *attachment = attachment_find(worker,
                                                    hold->barrier->backend);

    hold->since = now();
    hold->next = worker->holds;
    worker->holds = hold;
    if (attachment) {
        attachment->hold = hold;
    }
    if (!attachment || !attachment->requests) {
        barrier_idle(hold);
    }
}

/* In their order; one that is completed from within may bring a new one, which
 * comes after them. */
static void submit_kept(struct attachment *attachment, struct backend_io *io)
{
    while (io) {
        struct backend_io *next = io->next;

        attachment_submit(attachment, io);
        io = next;
    }
}

static void release_run(struct message *message)
{
    struct barrier_hold *hold = container_of(message, struct barrier_hold,
                                             release);
    struct worker *worker = hold->worker;
    struct barrier_hold **link = &worker->holds;
    struct attachment *attachment = attachment_find(worker,
                                                    hold->barrier->backend);

    while (*link != hold) {
        link = &(*link)->next;
    }
    *link = hold->next;
    if (attachment) {
        attachment->hold = NULL;
        hold->pause = now() - hold->since;
        submit_kept(attachment, hold->first);
    }
    mailbox_send(&hold->barrier->server->mailbox, &hold->released);
}

/* ---- In the control thread ----------------------------------------------- */

static void all_idle(struct barrier *barrier)
{
    if (barrier->state == BARRIER_HOLDING) {
        barrier->state = BARRIER_HELD;
        barrier->held(barrier);
    }
}

static void idle_run(struct message *message)
{
    struct barrier_hold *hold = container_of(message, struct barrier_hold,
                                             idle);

    if (--hold->barrier->busy == 0) {
        all_idle(hold->barrier);
    }
}

static void end(struct barrier *barrier)
{
    struct barrier **link = &barrier->server->barriers;

    while (*link != barrier) {
        link = &(*link)->next;
    }
    *link = barrier->next;
    free(barrier->holds);
    barrier->holds = NULL;
    barrier->state = BARRIER_IDLE;
    barrier->released(barrier);
}

static void released_run(struct message *message)
{
    struct barrier_hold *hold = container_of(message, struct barrier_hold,
                                             released);
    struct barrier *barrier = hold->barrier;

    if (hold->pause > barrier->pause) {
        barrier->pause = hold->pause;
    }
    if (--barrier->held_by == 0) {
        end(barrier);
    }
}

int barrier_begin(struct barrier *barrier, struct rdisk_error *err)
{
    struct server *server = barrier->server;
    unsigned int workers = server->placement.cores;

    assert_control_thread();
    assert(barrier->state == BARRIER_IDLE);
    barrier->holds = calloc(workers + 1, sizeof(*barrier->holds));
    if (!barrier->holds) {
        return rdisk_error_set(err, -ENOMEM,
                               "the server has no memory for a "
                               "barrier");
    }
    barrier->state = BARRIER_HOLDING;
    barrier->deadline = now() + barrier->limit;
    barrier->busy = barrier->held_by = workers;
    barrier->next = server->barriers;
    server->barriers = barrier;
    for (unsigned int i = 0; i < workers; i++) {
        struct barrier_hold *hold = &barrier->holds[i];

        hold->barrier = barrier;
        hold->worker = &server->workers[i];
        hold->last = &hold->first;
        hold->hold.run = hold_run;
        hold->release.run = release_run;
        hold->idle.run = idle_run;
        hold->released.run = released_run;
        reactor_send(hold->worker->reactor, &hold->hold);
    }
    if (!workers) {
        all_idle(barrier); /* a test's: there are no requests */
    }
    return 0;
}

void barrier_release(struct barrier *barrier)
{
    assert_control_thread();
    if (barrier->state != BARRIER_HOLDING && barrier->state != BARRIER_HELD) {
        return;
    }
    barrier->state = BARRIER_RELEASING;
    for (unsigned int i = 0; i < barrier->held_by; i++) {
        struct barrier_hold *hold = &barrier->holds[i];

        reactor_send(hold->worker->reactor, &hold->release);
    }
    if (!barrier->held_by) {
        end(barrier);
    }
}

/* ---- The limit ----------------------------------------------------------- */

static bool counts(const struct barrier *barrier)
{
    return barrier->state != BARRIER_RELEASING;
}

uint64_t barriers_deadline(const struct server *server)
{
    uint64_t earliest = RDISK_NEVER;

    for (const struct barrier *barrier = server->barriers; barrier;
         barrier = barrier->next) {
        if (counts(barrier) && barrier->deadline < earliest) {
            earliest = barrier->deadline;
        }
    }
    return earliest;
}

void barriers_check_time(struct server *server, uint64_t time)
{
    struct barrier *barrier = server->barriers, *next;

    assert_control_thread();
    for (; barrier; barrier = next) {
        next = barrier->next;
        if (counts(barrier) && time >= barrier->deadline) {
            barrier->expired = true;
            barrier_release(barrier);
        }
    }
}
