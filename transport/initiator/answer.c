/* SPDX-License-Identifier: BSD-3-Clause */
/* How a client's requests end: answers, single ones and vectors. */
#include <errno.h>
#include <string.h>

#include "transport/initiator/session.h"

void rdisk_queue_release_bounce(struct rdisk_queue *queue,
                                struct rdisk_request *request)
{
    if (request->bounced) {
        rdisk_bounce_release(&queue->bounce, request->chunk_first,
                             request->chunk_count);
        request->bounced = false;
        request->chunk_count = 0;
    }
}

/*
 * The server can write to bounce memory as long as it likes: copy first, check
 * the copy, and hand on nothing else.
 */
static int take_extents(struct rdisk_queue *queue,
                        struct rdisk_request *request)
{
    struct rdisk_wire_extent copy[RDISK_EXTENTS_MAX];
    struct rdisk_error err;
    unsigned int count;

    memcpy(copy, rdisk_bounce_chunk(&queue->bounce, request->chunk_first),
           request->extent_count * sizeof(copy[0]));
    count = rdisk_wire_check_extents(copy, request->extent_count,
                                     rdisk_queue_extents_range(queue, request),
                                     queue->session->info.block_size, &err);
    if (!count) {
        rdisk_log(queue->session->env, RDISK_LOG_ERROR,
                  "queue %u: an answer violates the protocol: %s",
                  queue->link.queue, err.text);
        rdisk_qp_break(&queue->qp);
        return -EPROTO;
    }
    for (unsigned int i = 0; i < count; i++) {
        request->extents[i].length = le64toh(copy[i].length);
        request->extents[i].flags = le32toh(copy[i].flags);
    }
    request->extent_count = count;
    return 0;
}

void rdisk_queue_complete(struct rdisk_queue *queue,
                          struct rdisk_request *request, int result)
{
    if (request->op == RDISK_OP_EXTENTS) {
        if (result == 0) {
            result = take_extents(queue, request);
        }
        rdisk_queue_release_bounce(queue, request);
    } else if (request->bounced) {
        if (request->op == RDISK_OP_READ && result == 0) {
            rdisk_bounce_copy_out(&queue->bounce, request->chunk_first,
                                  request->iov, request->iovcnt);
            rdisk_counter_add(&queue->copied_bytes, request->length);
        }
        rdisk_queue_release_bounce(queue, request);
        rdisk_counter_add(&queue->bounced, 1);
    }
    result = rdisk_queue_account(queue, request, result);
    rdisk_op_count(&queue->ops, request->op, request->length, result < 0);
    atomic_fetch_sub_explicit(&queue->outstanding, 1, memory_order_release);
    request->complete(request, result);
}

struct rdisk_request *rdisk_queue_take_from_slot(struct rdisk_queue *queue,
                                                 uint16_t slot)
{
    struct rdisk_request *request = queue->in_slot[slot];

    queue->in_slot[slot] = NULL;
    atomic_fetch_sub_explicit(&queue->in_slots, 1, memory_order_release);
    atomic_store_explicit(&queue->seen[slot], RDISK_NEVER,
                          memory_order_relaxed);
    return request;
}

/* An answer that fits no request: the server cannot be trusted any more. */
static void bad_answer(struct rdisk_queue *queue, uint32_t immediate)
{
    rdisk_log(queue->session->env, RDISK_LOG_ERROR,
              "queue %u: answer 0x%08x matches no request", queue->link.queue,
              immediate);
    rdisk_qp_break(&queue->qp);
}

/* True if it ends now. */
static bool answered(struct rdisk_queue *queue, struct rdisk_request *request,
                     int result)
{
    if (request->awaits == RDISK_AWAITS_WINDOWS) {
        rdisk_queue_answered(queue, request, result);
        return false;
    }
    if (request->awaits == RDISK_AWAITS_SENDS &&
        !rdisk_qp_sent(&queue->qp, request->revoked)) {
        rdisk_queue_await_sent(queue, request, result);
        return false;
    }
    return true;
}

/* Of one request. True if it ends now. */
static bool answer(struct rdisk_queue *queue, uint32_t immediate)
{
    uint16_t slot = (uint16_t)(immediate >> 16);
    uint8_t sequence = (uint8_t)(immediate >> 8);
    uint8_t status = (uint8_t)immediate;
    int result = status == RDISK_STATUS_OK ? 0 : rdisk_status_to_errno(status);
    struct rdisk_request *request;

    if (slot >= queue->slots || !queue->in_slot[slot] ||
        !queue->in_slot[slot]->unanswered ||
        (uint8_t)queue->in_slot[slot]->sequence != sequence) {
        bad_answer(queue, immediate);
        return false;
    }
    if (queue->in_slot[slot]->awaits &&
        !answered(queue, queue->in_slot[slot], result)) {
        return false;
    }
    request = rdisk_queue_take_from_slot(queue, slot);
    rdisk_queue_release_slot(queue, slot);
    rdisk_queue_complete(queue, request, result);
    return true;
}

/*
 * Several answers, in the area of the first one's slot. The server can write to
 * it as long as it likes, and once a request ends its slot, and with it the
 * area, may have the next one: what is checked is a copy. Their number; 0 if
 * they are none.
 */
static unsigned int copy_answers(const struct rdisk_queue *queue,
                                 const struct rdisk_qp_completion *completion,
                                 rdisk_le32 *copy)
{
    uint16_t slot = rdisk_vector_slot(completion->immediate);
    unsigned int count = (uint16_t)completion->immediate;

    if (!queue->areas || slot >= queue->slots || count < RDISK_VECTOR_MIN ||
        count > RDISK_VECTOR_MAX ||
        completion->length != count * sizeof(copy[0])) {
        return 0;
    }
    memcpy(copy, queue->areas + slot * RDISK_ANSWER_AREA, completion->length);
    return le32toh(copy[0]) >> 16 == slot ? count : 0;
}

/* Of several requests in one message; how many end now. */
static unsigned int answer_vector(struct rdisk_queue *queue,
                                  const struct rdisk_qp_completion *completion)
{
    rdisk_le32 answers[RDISK_VECTOR_MAX];
    unsigned int count = copy_answers(queue, completion, answers), ended = 0;

    if (count == 0) {
        bad_answer(queue, completion->immediate);
    }
    for (unsigned int i = 0; i < count; i++) {
        ended += answer(queue, le32toh(answers[i]));
    }
    return ended;
}

unsigned int rdisk_queue_answer(struct rdisk_queue *queue,
                                const struct rdisk_qp_completion *completion)
{
    if (!completion->with_immediate) {
        bad_answer(queue, 0);
        return 0;
    }
    return completion->immediate & RDISK_VECTOR_FLAG
               ? answer_vector(queue, completion)
               : answer(queue, completion->immediate);
}
