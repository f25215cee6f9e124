/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/queue.h"

#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/thread.h"
#include "server/session/attachment.h"
#include "server/session/slots.h"

#define queue_of(pointer, member) container_of(pointer, struct queue, member)

/* ---- Requests --------------------------------------------------------- */

bool queue_polls(const struct queue *queue)
{
    return queue->attachment && queue->attachment->context->polled;
}

uint64_t queue_polled(const struct queue *queue)
{
    return atomic_load_explicit(&queue->polled, memory_order_relaxed);
}

static struct queue_request *request_of(const struct flow_request *flow)
{
    return container_of(flow, struct queue_request, flow);
}

static struct queue *queue_of_request(const struct queue_request *request)
{
    return container_of(request - request->target->slot, struct queue,
                        requests[0]);
}

static void request_done(struct backend_io *io, int result, void *opaque)
{
    struct queue_request *request = container_of(io, struct queue_request, io);
    struct queue *queue = opaque;

    if (io->polled) {
        /* One writer, so no locked instruction. */
        atomic_store_explicit(&queue->polled, queue_polled(queue) + 1,
                              memory_order_relaxed);
    }
    if (__builtin_expect(backend_is_fenced(queue->backend), false)) {
        /* The client asks the server that has the volume now. */
        rdisk_target_queue_break(queue->target);
    }
    if (__builtin_expect(io->stored != NULL, false)) {
        rdisk_target_stored(request->target, io->stored);
    }
    rdisk_target_complete(request->target, rdisk_status_from_errno(result));
    attachment_completed(queue->attachment);
    turns_ended(&queue->worker->turns, queue->flow, &request->flow);
    reactor_defer(queue->worker->reactor, &queue->answers);
}

void queue_request_start(struct flow_request *flow)
{
    struct queue_request *request = request_of(flow);

    attachment_submit(queue_of_request(request)->attachment, &request->io);
}

void queue_request_fail(struct flow_request *flow)
{
    struct queue_request *request = request_of(flow);
    struct queue *queue = queue_of_request(request);

    rdisk_target_complete(request->target, RDISK_STATUS_IO_ERROR);
    reactor_defer(queue->worker->reactor, &queue->answers);
}

bool queue_request_must_fail(const struct flow_request *flow)
{
    const struct queue_request *request = request_of(flow);

    return rdisk_target_queue_broken(queue_of_request(request)->target);
}

static void classify(struct flow_request *flow, const struct backend_io *io)
{
    flow->class = rdisk_op_has_segments(io->op) ? FLOW_READS : FLOW_WRITES;
    /* What moves no data names a range of any length. */
    flow->bytes = io->op == RDISK_OP_READ || io->op == RDISK_OP_WRITE ||
                          io->op == RDISK_OP_COPY
                      ? io->length
                      : 0;
}

void queue_request_event(void *queue_user, struct rdisk_target_request *target)
{
    struct queue *queue = queue_user;
    struct queue_request *request = &queue->requests[target->slot];
    struct backend_io *io = &request->io;
    struct slots *slots;

    assert_reactor_thread(NULL);
    if (!queue->attachment || !queue->flow || target->slot >= queue->slots) {
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
    io->stored = NULL;
    slots = slots_of(target->grant);
    if (__builtin_expect(!slots->registered, false)) {
        slots_register(queue, target->grant);
    }
    memcpy(io->buffer, slots->buffer, sizeof(io->buffer));
    io->polled = false;
    io->depth = 0;
    backend_io_push(io, request_done, queue);
    classify(&request->flow, io);
    turns_arrive(&queue->worker->turns, queue->flow, &request->flow,
                 target->received);
}

/* ---- Coming and going ------------------------------------------------- */

static void left_run(struct message *message)
{
    struct queue *queue = queue_of(message, message);

    queue->gone = true;
    if (!queue->returning) {
        queue->left(queue);
    }
}

/* The ring has nothing of the queue any more: back to the control thread. */
static void leave(struct cq_user *user)
{
    struct queue *queue = queue_of(user, cq);

    assert_reactor_thread(NULL);
    slots_leave(queue);
    turns_leave(&queue->worker->turns, queue->flow);
    attachment_put(queue->worker, queue->attachment);
    queue->message.run = left_run;
    mailbox_send(queue->home, &queue->message);
}

/* The end of a turn in which requests were completed, or the queue drained. */
static void answers_run(struct reactor_deferred *deferred)
{
    struct queue *queue = queue_of(deferred, answers);

    if (queue->state == QUEUE_RUNNING) {
        rdisk_target_queue_kick(queue->target);
    } else if (queue->state == QUEUE_DRAINED) {
        queue->state = QUEUE_LEFT;
        cq_watch_leave(&queue->cq);
    }
}

/* Not from within: its answers may be on the list of this turn's end. */
void queue_idle_event(void *queue_user, struct rdisk_target_queue *target)
{
    struct queue *queue = queue_user;

    assert_reactor_thread(NULL);
    queue->state = QUEUE_DRAINED;
    reactor_defer(queue->worker->reactor, &queue->answers);
}

static void start_run(struct message *message)
{
    struct queue *queue = queue_of(message, message);

    queue->attachment = attachment_get(queue->worker, queue->backend);
    queue->flow = turns_join(&queue->worker->turns, queue->worker->reactor,
                             queue->terms);
    slots_register(queue, rdisk_target_queue_base(queue->target));
    queue->state = QUEUE_RUNNING;
    cq_watch_join(&queue->worker->watches, queue->worker->reactor,
                  rdisk_target_queue_cq(queue->target), &queue->cq);
    rdisk_target_queue_start(queue->target);
}

struct queue *queue_start(struct rdisk_target_queue *target,
                          struct worker *worker, struct backend *backend,
                          const struct flow_terms *terms, unsigned int slots,
                          struct mailbox *home,
                          void (*left)(struct queue *queue), void *owner,
                          void **user)
{
    struct queue *queue = calloc(1, sizeof(*queue) +
                                        slots * sizeof(queue->requests[0]));
    struct cq_watch *spare = cq_watch_new();

    assert_control_thread();
    if (!queue || !spare) {
        cq_watch_free(spare);
        free(queue);
        return NULL;
    }
    queue->cq.spare = spare;
    queue->cq.left = leave;
    queue->target = target;
    queue->worker = worker;
    queue->backend = backend;
    queue->terms = terms;
    queue->home = home;
    queue->left = left;
    queue->owner = owner;
    queue->state = QUEUE_STARTING;
    queue->answers.run = answers_run;
    queue->slots = slots;
    queue->message.run = start_run;
    worker->queues++;
    *user = queue;
    reactor_send(worker->reactor, &queue->message);
    return queue;
}

void queue_free(struct queue *queue)
{
    assert_control_thread();
    queue->worker->queues--;
    cq_watch_free(queue->cq.spare);
    free(queue);
}
