/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client's queue: requests wait for a slot, go out, and end with the answer
 * or with the connection. stage.c encodes them, answer.c ends them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transport/initiator/session.h"

/* ---- Submission ------------------------------------------------------- */

/* Take the connection, if there is one and it is not ours yet. */
static bool active(struct rdisk_queue *queue)
{
    int joined = RDISK_QUEUE_JOINED;

    return atomic_load_explicit(&queue->phase, memory_order_acquire) ==
               RDISK_QUEUE_ACTIVE ||
           atomic_compare_exchange_strong(&queue->phase, &joined,
                                          RDISK_QUEUE_ACTIVE);
}

static enum rdisk_request_flow flow(const struct rdisk_queue *queue)
{
    return (enum rdisk_request_flow)atomic_load_explicit(
        &queue->session->machine.flow, memory_order_acquire);
}

/* True if requests can go out. */
static bool sending(struct rdisk_queue *queue)
{
    return flow(queue) == RDISK_REQUESTS_SEND && active(queue) &&
           !atomic_load_explicit(&queue->qp.broken, memory_order_relaxed);
}

/* The result of requests that wait for no connection any more. */
static int failure(const struct rdisk_queue *queue)
{
    const struct rdisk_initiator *session = queue->session;
    int code = session->machine.error.code;

    /* -ESTALE, too late, is not among the errors that a disk has. */
    return rdisk_initiator_state(session) == RDISK_INITIATOR_FAILED &&
                   code != -ESTALE
               ? code
               : -EIO;
}

/* True if the volume supports @op, an operation on a range. */
static bool available(const struct rdisk_volume_info *info, enum rdisk_op op)
{
    switch (op) {
    case RDISK_OP_READ:
    case RDISK_OP_WRITE:
    case RDISK_OP_FLUSH:
        break;
    case RDISK_OP_DISCARD:
        return info->discard;
    case RDISK_OP_ZEROES:
        return info->zeroes;
    case RDISK_OP_EXTENTS:
        return info->extents;
    case RDISK_OP_COPY:
        return info->copy;
    }
    return false;
}

static bool inside(const struct rdisk_initiator *session, uint64_t offset,
                   uint64_t length)
{
    uint64_t size = rdisk_initiator_size(session);
    uint32_t block_size = session->info.block_size; /* a power of two */

    return ((offset | length) & (block_size - 1)) == 0 && offset <= size &&
           length <= size - offset;
}

static bool overlap(uint64_t a, uint64_t b, uint64_t length)
{
    return (a < b ? b - a : a - b) < length;
}

/* True if its range is not empty, not too long, and inside the volume. */
static bool fits(const struct rdisk_queue *queue,
                 const struct rdisk_request *request, uint64_t longest)
{
    return request->length != 0 && request->length <= longest &&
           inside(queue->session, request->offset, request->length);
}

/* An operation on a range that carries none of its data. */
static int check_range(const struct rdisk_queue *queue,
                       const struct rdisk_request *request)
{
    uint64_t longest = request->op == RDISK_OP_EXTENTS
                           ? UINT64_MAX
                           : rdisk_op_range_max(request->op);

    if (!available(&queue->session->info, request->op)) {
        return -ENOTSUP;
    }
    if (!fits(queue, request, longest)) {
        return -EINVAL;
    }
    if (request->op == RDISK_OP_COPY &&
        (!inside(queue->session, request->source, request->length) ||
         overlap(request->source, request->offset, request->length))) {
        return -EINVAL;
    }
    if (request->op == RDISK_OP_EXTENTS &&
        (!request->extents || request->extent_count < 1 ||
         request->extent_count > RDISK_EXTENTS_MAX)) {
        return -EINVAL;
    }
    return 0;
}

static int check_request(const struct rdisk_queue *queue,
                         const struct rdisk_request *request)
{
    uint64_t sum = 0;

    if (request->op == RDISK_OP_FLUSH) {
        return request->length || request->offset ? -EINVAL : 0;
    }
    if (request->op != RDISK_OP_READ && request->op != RDISK_OP_WRITE) {
        return check_range(queue, request);
    }
    for (unsigned int i = 0; i < request->iovcnt; i++) {
        sum += request->iov[i].iov_len;
    }
    return sum == request->length &&
                   fits(queue, request, queue->session->info.max_transfer)
               ? 0
               : -EINVAL;
}

static void count_waiting(struct rdisk_queue *queue, int change)
{
    atomic_store_explicit(&queue->waiting_count,
                          atomic_load_explicit(&queue->waiting_count,
                                               memory_order_relaxed) +
                              (unsigned int)change,
                          memory_order_relaxed);
}

static int submit(struct rdisk_queue *queue, struct rdisk_request *request)
{
    int ret;

    if (flow(queue) == RDISK_REQUESTS_FAIL) {
        return -ENOTCONN;
    }
    ret = check_request(queue, request);
    if (ret < 0) {
        return ret;
    }
    request->next = NULL;
    request->bounced = false;
    request->chunk_count = 0;
    if (request->op == RDISK_OP_FLUSH) {
        rdisk_queue_number_flush(queue, request);
    }
    atomic_fetch_add_explicit(&queue->outstanding, 1, memory_order_relaxed);
    if (queue->waiting || !sending(queue) ||
        !rdisk_queue_stage(queue, request)) {
        *queue->waiting_end = request;
        queue->waiting_end = &request->next;
        count_waiting(queue, 1);
        rdisk_counter_add(&queue->waited, 1);
        rdisk_queue_want(queue);
    }
    return 0;
}

int rdisk_queue_submit(struct rdisk_queue *queue, struct rdisk_request *request)
{
    int ret;

    rdisk_use_begin(&queue->use);
    ret = submit(queue, request);
    rdisk_use_end(&queue->use);
    return ret;
}

/* First come, first served: a large request is not passed by small ones. */
static void stage_waiting(struct rdisk_queue *queue)
{
    while (queue->waiting && sending(queue)) {
        struct rdisk_request *request = queue->waiting;
        struct rdisk_request *next = request->next;

        if (!rdisk_queue_stage(queue, request)) {
            return;
        }
        queue->waiting = next;
        count_waiting(queue, -1);
        if (!next) {
            queue->waiting_end = &queue->waiting;
        }
    }
}

void rdisk_queue_kick(struct rdisk_queue *queue)
{
    rdisk_use_begin(&queue->use);
    if (atomic_load_explicit(&queue->phase, memory_order_acquire) ==
        RDISK_QUEUE_ACTIVE) {
        rdisk_queue_post(queue);
    }
    rdisk_use_end(&queue->use);
}

/* ---- The end of a connection ------------------------------------------ */

/* Insert by age: sequence numbers wrap, so by their difference. */
static void insert(struct rdisk_request **list, struct rdisk_request *request)
{
    while (*list && (int32_t)((*list)->sequence - request->sequence) < 0) {
        list = &(*list)->next;
    }
    request->next = *list;
    *list = request;
}

void rdisk_queue_wait_again(struct rdisk_queue *queue,
                            struct rdisk_request *request)
{
    request->next = queue->waiting;
    queue->waiting = request;
    if (!request->next) {
        queue->waiting_end = &request->next;
    }
    count_waiting(queue, 1);
}

/* What was in flight waits again, before what waited already. */
static void wait_again(struct rdisk_queue *queue)
{
    struct rdisk_request *again = NULL;
    struct rdisk_request **end;

    for (unsigned int i = 0; i < queue->slots; i++) {
        if (queue->in_slot[i]) {
            insert(&again, rdisk_queue_take_from_slot(queue, (uint16_t)i));
            count_waiting(queue, 1);
        }
    }
    for (end = &again; *end; end = &(*end)->next) {
    }
    if (again && !queue->waiting) {
        queue->waiting_end = end;
    }
    *end = queue->waiting;
    queue->waiting = again;
}

/*
 * The device has released everything: keep the requests, and return the
 * connection to the home thread, which decides what becomes of them.
 */
static unsigned int park(struct rdisk_queue *queue)
{
    unsigned int count;
    struct rdisk_request *request;

    if (queue->resident.on) {
        rdisk_resident_lost(queue);
    }
    count = rdisk_queue_end_answered(queue);
    RDISK_CONTRACT(queue->vector_count == 0);
    wait_again(queue);
    /* Bound ones would keep the guest's memory from being deregistered. */
    rdisk_queue_windows_destroy(queue);
    for (request = queue->waiting; request; request = request->next) {
        rdisk_queue_release_bounce(queue, request);
    }
    rdisk_queue_unwatch(queue);
    queue->broken_reported = false;
    atomic_store_explicit(&queue->phase, RDISK_QUEUE_QUIESCED,
                          memory_order_release);
    rdisk_initiator_ring_alarm(queue->session);
    return count;
}

static unsigned int fail_waiting(struct rdisk_queue *queue, int code)
{
    unsigned int count = 0;

    while (queue->waiting) {
        struct rdisk_request *request = queue->waiting;

        queue->waiting = request->next;
        count_waiting(queue, -1);
        if (!queue->waiting) {
            queue->waiting_end = &queue->waiting;
        }
        rdisk_queue_complete(queue, request, code);
        count++;
    }
    return count;
}

void rdisk_queue_detach(struct rdisk_queue *queue)
{
    int mine = RDISK_QUEUE_ACTIVE;

    rdisk_use_begin(&queue->use);
    if (atomic_compare_exchange_strong(&queue->phase, &mine,
                                       RDISK_QUEUE_JOINED)) {
        /* If the connection has just broken, the home thread reclaims it. */
        rdisk_initiator_ring_alarm(queue->session);
    }
    rdisk_use_end(&queue->use);
}

/* ---- Events ----------------------------------------------------------- */

static void take_wake(struct rdisk_queue *queue)
{
    uint64_t rings;

    /* The flag is set after the write, so that this read finds it. It may take
     * a later wake-up with it, whose cause is served in this turn, too. */
    if (atomic_load_explicit(&queue->woken, memory_order_relaxed) &&
        atomic_exchange(&queue->woken, false) &&
        read(queue->wake_fd, &rings, sizeof(rings)) < 0 && errno != EAGAIN) {
        rdisk_log(queue->session->env, RDISK_LOG_ERROR,
                  "cannot read queue %u's eventfd: %s", queue->link.queue,
                  strerror(errno));
    }
}

/* Completions, then what waits. */
static unsigned int serve_once(struct rdisk_queue *queue)
{
    struct rdisk_qp_completion completion;
    bool changed = atomic_load_explicit(&queue->grants_changed,
                                        memory_order_relaxed) &&
                   atomic_exchange(&queue->grants_changed, false);
    unsigned int count = 0;

    while (rdisk_qp_next(&queue->qp, &completion)) {
        count += rdisk_queue_answer(queue, &completion);
    }
    if (queue->revoking) {
        count += rdisk_queue_end_revoked(queue);
    }
    if (queue->answered) {
        rdisk_queue_revoke(queue);
    }
    if (changed) {
        rdisk_queue_take_grants(queue);
    }
    if (count) {
        queue->needs_answer = false;
    }
    if (queue->waiting) {
        stage_waiting(queue);
        queue->needs_answer |= queue->waiting &&
                               rdisk_queue_has_slot(queue, queue->waiting);
    }
    if (changed) {
        /* What was recalled at once is used once. */
        rdisk_queue_close_grants(queue);
    }
    if (queue->waiting) {
        rdisk_queue_want(queue);
    }
    rdisk_queue_post(queue);
    return count;
}

static unsigned int serve(struct rdisk_queue *queue)
{
    unsigned int count = serve_once(queue);

    if (queue->revoking) {
        /* The device completes an invalidation almost at once. */
        count += serve_once(queue);
    }
    if (atomic_load_explicit(&queue->qp.broken, memory_order_relaxed)) {
        if (!queue->broken_reported) {
            queue->broken_reported = true;
            rdisk_initiator_ring_alarm(queue->session);
        }
        if (rdisk_qp_drained(&queue->qp)) {
            count += park(queue);
        }
    }
    return count;
}

void rdisk_queue_drain_events(struct rdisk_queue *queue)
{
    rdisk_use_begin(&queue->use);
    take_wake(queue);
    if (active(queue)) {
        rdisk_qp_take_events(&queue->qp);
    }
    rdisk_use_end(&queue->use);
}

void rdisk_queue_arm(struct rdisk_queue *queue)
{
    rdisk_use_begin(&queue->use);
    if (active(queue)) {
        rdisk_qp_arm(&queue->qp);
    }
    rdisk_use_end(&queue->use);
}

unsigned int rdisk_queue_process(struct rdisk_queue *queue)
{
    unsigned int count;

    /* To arm is a system call with some devices: what waits goes first. */
    rdisk_queue_drain_events(queue);
    count = rdisk_queue_poll(queue);
    rdisk_queue_arm(queue);
    /* What came in between has no event. */
    return rdisk_queue_pending(queue) ? count + rdisk_queue_poll(queue) : count;
}

unsigned int rdisk_queue_poll(struct rdisk_queue *queue)
{
    unsigned int count = 0;

    rdisk_use_begin(&queue->use);
    take_wake(queue);
    if (active(queue)) {
        count += serve(queue);
    }
    if (queue->waiting && flow(queue) == RDISK_REQUESTS_FAIL &&
        !active(queue)) {
        count += fail_waiting(queue, failure(queue));
    }
    rdisk_use_end(&queue->use);
    return count;
}

bool rdisk_queue_pending(struct rdisk_queue *queue)
{
    return atomic_load_explicit(&queue->woken, memory_order_relaxed) ||
           (atomic_load_explicit(&queue->phase, memory_order_acquire) ==
                RDISK_QUEUE_ACTIVE &&
            rdisk_qp_pending(&queue->qp));
}

/* ---- State and counters ----------------------------------------------- */

int rdisk_queue_fd(const struct rdisk_queue *queue)
{
    return queue->poll_fd;
}

bool rdisk_queue_idle(const struct rdisk_queue *queue)
{
    return atomic_load_explicit(&queue->outstanding, memory_order_acquire) == 0;
}

bool rdisk_queue_slots_idle(struct rdisk_queue *queue)
{
    return atomic_load_explicit(&queue->in_slots, memory_order_acquire) == 0;
}

/* True if it was first seen so long ago; it is seen now. */
static bool see(_Atomic uint64_t *first, uint64_t now, uint64_t timeout)
{
    uint64_t seen = atomic_load_explicit(first, memory_order_relaxed);

    if (seen == RDISK_SLOT_UNSEEN) {
        /* If the slot has been freed since, it stays free. */
        atomic_compare_exchange_strong_explicit(first, &seen, now,
                                                memory_order_relaxed,
                                                memory_order_relaxed);
        return false;
    }
    return seen != RDISK_NEVER && now - seen >= timeout;
}

bool rdisk_queue_overdue(struct rdisk_queue *queue, uint64_t now)
{
    uint64_t timeout = queue->session->options.request_timeout_ms * RDISK_MSEC;
    bool overdue;

    if (!timeout) {
        return false;
    }
    overdue = see(&queue->read_seen, now, timeout);
    for (unsigned int i = 0; i < queue->slots; i++) {
        overdue = see(&queue->seen[i], now, timeout) || overdue;
    }
    return overdue;
}

void rdisk_queue_counters(const struct rdisk_queue *queue,
                          struct rdisk_queue_counters *counters)
{
    const struct rdisk_qp_counters *qp = &queue->qp_counters;

    rdisk_op_counters_read(&queue->ops, &counters->ops);
    counters->copied_bytes += rdisk_counter_read(&queue->copied_bytes);
    counters->bounced += rdisk_counter_read(&queue->bounced);
    counters->waited += rdisk_counter_read(&queue->waited);
    counters->work_requests += rdisk_counter_read(&qp->work_requests);
    counters->doorbells += rdisk_counter_read(&qp->doorbells);
    counters->receives += rdisk_counter_read(&qp->receives);
    counters->wakeups += rdisk_counter_read(&qp->wakeups);
    counters->windows += rdisk_counter_read(&queue->windows_bound);
    counters->one_sided += rdisk_counter_read(&queue->one_sided);
    counters->slots += atomic_load_explicit(&queue->held, memory_order_relaxed);
    counters->slot_waits += rdisk_counter_read(&queue->slot_waits);
    counters->slot_grants += rdisk_counter_read(&queue->slot_grants);
    counters->slot_returns += rdisk_counter_read(&queue->slot_returns);
}
