/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/queue.h"

#include <poll.h>
#include <stdlib.h>

#include "server/log.h"

/* A backend's context on a reactor, shared by the queues it has there. */
struct attachment {
    struct backend *backend;
    struct backend_context *context;
    unsigned int queues;
    struct attachment *next;
};

#define queue_of(pointer, member) \
    ((struct queue *)((char *)(pointer) - offsetof(struct queue, member)))

/* ---- Attachments ------------------------------------------------------ */

static struct attachment *attach(struct worker *worker,
                                 struct backend *backend)
{
    struct attachment *attachment = worker->attachments;
    struct rdisk_error err;

    while (attachment && attachment->backend != backend) {
        attachment = attachment->next;
    }
    if (attachment) {
        attachment->queues++;
        return attachment;
    }
    attachment = calloc(1, sizeof(*attachment));
    if (!attachment) {
        return NULL;
    }
    attachment->context = backend->class->join(backend, worker->reactor,
                                               &err);
    if (!attachment->context) {
        log_error("a queue can do nothing: %s", err.text);
        free(attachment);
        return NULL;
    }
    attachment->backend = backend;
    attachment->queues = 1;
    attachment->next = worker->attachments;
    worker->attachments = attachment;
    return attachment;
}

static void detach(struct worker *worker, struct attachment *attachment)
{
    struct attachment **link = &worker->attachments;

    if (!attachment || --attachment->queues) {
        return;
    }
    while (*link != attachment) {
        link = &(*link)->next;
    }
    *link = attachment->next;
    attachment->backend->class->leave(attachment->context);
    free(attachment);
}

/* ---- Requests --------------------------------------------------------- */

static void request_done(struct backend_io *io, int result, void *opaque)
{
    struct queue_request *request =
        backend_of(io, struct queue_request, io);
    struct queue *queue = opaque;

    rdisk_target_complete(request->target, rdisk_status_from_errno(result));
    reactor_defer(queue->worker->reactor, &queue->answers);
}

void queue_request_event(void *queue_user,
                         struct rdisk_target_request *target)
{
    struct queue *queue = queue_user;
    struct queue_request *request = &queue->requests[target->slot];
    struct backend_io *io = &request->io;

    if (!queue->attachment || target->slot >= queue->slots) {
        rdisk_target_complete(target, RDISK_STATUS_NO_RESOURCES);
        return;
    }
    request->target = target;
    io->op = target->op;
    io->flags = target->flags;
    io->offset = target->offset;
    io->source = target->source;
    io->length = target->length;
    io->room = target->room;
    io->data = target->data;
    io->buffer = queue->buffer;
    io->depth = 0;
    backend_io_push(io, request_done, queue);
    backend_submit(queue->attachment->context, io);
}

/* ---- Coming and going ------------------------------------------------- */

static void left_run(struct message *message)
{
    struct queue *queue = queue_of(message, message);

    queue->left(queue);
}

/* Nothing of the ring knows the queue any more: back to the control thread. */
static void queue_leave(struct queue *queue)
{
    struct reactor *reactor = queue->worker->reactor;

    queue->state = QUEUE_LEFT;
    reactor_poller_remove(reactor, &queue->poller);
    reactor_buffer_remove(reactor, queue->buffer);
    detach(queue->worker, queue->attachment);
    queue->message.run = left_run;
    mailbox_send(queue->home, &queue->message);
}

/* The end of a turn in which requests were completed, or the queue drained. */
static void answers_run(struct reactor_deferred *deferred)
{
    struct queue *queue = queue_of(deferred, answers);

    if (queue->state == QUEUE_RUNNING) {
        rdisk_target_queue_kick(queue->target);
    } else if (queue->state == QUEUE_DRAINED && !queue->polling) {
        queue_leave(queue);
    }
}

static void poll_arm(struct queue *queue)
{
    struct io_uring_sqe *sqe = reactor_sqe(queue->worker->reactor);

    io_uring_prep_poll_multishot(sqe, rdisk_target_queue_fd(queue->target),
                                 POLLIN);
    reactor_sqe_set(sqe, &queue->poll);
    queue->polling = true;
}

/* Its own completion says nothing; the poll's last one does. */
static void poll_disarm(struct queue *queue)
{
    struct io_uring_sqe *sqe = reactor_sqe(queue->worker->reactor);

    io_uring_prep_poll_remove(sqe, (__u64)(uintptr_t)&queue->poll);
    io_uring_sqe_set_data(sqe, NULL);
}

static void poll_done(struct reactor_op *op, int result, unsigned int flags)
{
    struct queue *queue = queue_of(op, poll);
    bool drained = queue->state == QUEUE_DRAINED;

    if (!(flags & IORING_CQE_F_MORE)) {
        queue->polling = false;
    }
    if (queue->state == QUEUE_RUNNING) {
        queue->unarmed = reactor_spins(queue->worker->reactor);
        if (queue->unarmed) {
            rdisk_target_queue_poll(queue->target);
        } else {
            rdisk_target_queue_process(queue->target);
        }
    }
    if (queue->polling) {
        if (drained) {
            /* This event was under way when the poll was to be removed, which
             * the kernel then refuses (EALREADY). */
            poll_disarm(queue);
        }
        return;
    }
    if (queue->state == QUEUE_RUNNING) {
        poll_arm(queue);
    } else {
        reactor_defer(queue->worker->reactor, &queue->answers);
    }
}

static bool poller_poll(struct reactor_poller *poller)
{
    struct queue *queue = queue_of(poller, poller);

    return queue->state == QUEUE_RUNNING &&
           rdisk_target_queue_poll(queue->target) > 0;
}

static bool poller_rest(struct reactor_poller *poller)
{
    struct queue *queue = queue_of(poller, poller);

    if (queue->state != QUEUE_RUNNING || !queue->unarmed) {
        return false;
    }
    queue->unarmed = false;
    return rdisk_target_queue_process(queue->target) > 0;
}

void queue_idle_event(void *queue_user, struct rdisk_target_queue *target)
{
    struct queue *queue = queue_user;
    struct reactor *reactor = queue->worker->reactor;

    queue->state = QUEUE_DRAINED;
    if (queue->polling) {
        poll_disarm(queue);
    } else {
        reactor_defer(reactor, &queue->answers);
    }
}

static void start_run(struct message *message)
{
    struct queue *queue = queue_of(message, message);
    struct reactor *reactor = queue->worker->reactor;
    size_t length;
    void *memory;

    rdisk_target_queue_memory(queue->target, &memory, &length);
    queue->buffer = reactor_buffer_add(reactor, memory, length);
    queue->attachment = attach(queue->worker, queue->backend);
    queue->state = QUEUE_RUNNING;
    reactor_poller_add(reactor, &queue->poller);
    poll_arm(queue);
    rdisk_target_queue_start(queue->target);
}

struct queue *queue_start(struct rdisk_target_queue *target,
                          struct worker *worker, struct backend *backend,
                          unsigned int slots, struct mailbox *home,
                          void (*left)(struct queue *queue), void *owner,
                          void **user)
{
    struct queue *queue = calloc(1, sizeof(*queue) +
                                    slots * sizeof(queue->requests[0]));

    if (!queue) {
        return NULL;
    }
    queue->target = target;
    queue->worker = worker;
    queue->backend = backend;
    queue->home = home;
    queue->left = left;
    queue->owner = owner;
    queue->state = QUEUE_STARTING;
    queue->poll.done = poll_done;
    queue->poller.poll = poller_poll;
    queue->poller.rest = poller_rest;
    queue->answers.run = answers_run;
    queue->buffer = -1;
    queue->slots = slots;
    queue->message.run = start_run;
    worker->queues++;
    *user = queue;
    reactor_send(worker->reactor, &queue->message);
    return queue;
}

void queue_free(struct queue *queue)
{
    queue->worker->queues--;
    free(queue);
}
