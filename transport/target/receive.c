/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a client sends to a queue: requests with a header, alone or several in
 * one message, and bare writes. Each is checked, and handed to the owner,
 * refused, or ends the session.
 *
 * Headers and segments are copied before they are checked: the client can still
 * write to the slot.
 */
#include <errno.h>
#include <string.h>

#include "transport/target/queue.h"
#include "transport/target/session.h"

void rdisk_target_queue_violated(struct rdisk_target_queue *queue,
                                 const struct rdisk_error *err)
{
    const struct rdisk_target_session *session = queue->session;

    rdisk_log(session->target->env, RDISK_LOG_ERROR,
              "%s: queue %u violates the protocol: %s", session->request.peer,
              queue->index, err->text);
    queue->violation = *err;
    rdisk_qp_break(&queue->qp);
}

/* A client may have as many refused as it likes: the log has the 1st, 2nd, 4th,
 * 8th… of a queue. */
static void log_refusal(struct rdisk_target_queue *queue,
                        const struct rdisk_error *err)
{
    uint64_t n;

    rdisk_counter_add(&queue->refused, 1);
    n = rdisk_counter_read(&queue->refused);
    if ((n & (n - 1)) == 0) {
        rdisk_log(queue->session->target->env, RDISK_LOG_WARNING,
                  "%s: request refused: %s (%llu on this queue)",
                  queue->session->request.peer, err->text,
                  (unsigned long long)n);
    }
}

/* What it can take is what the request is held against. */
static struct rdisk_target_slot *free_slot(struct rdisk_target_queue *queue,
                                           unsigned int index,
                                           struct rdisk_error *err)
{
    const struct rdisk_target_slots *slots;

    if (index >= queue->slots) {
        rdisk_error_set(err, -EPROTO, "slot %u of %u", index, queue->slots);
        return NULL;
    }
    slots = atomic_load_explicit(&queue->slot[index].slots,
                                 memory_order_acquire);
    if (!slots) {
        rdisk_error_set(err, -EPROTO, "slot %u, which is not granted", index);
        return NULL;
    }
    queue->limits.slot_size = slots->slot_size;
    if (queue->slot[index].busy) {
        rdisk_error_set(err, -EPROTO,
                        "a request in slot %u, which is not answered", index);
        return NULL;
    }
    return &queue->slot[index];
}

static struct rdisk_target_slot *find_slot(
    struct rdisk_target_queue *queue,
    const struct rdisk_qp_completion *completion, struct rdisk_error *err)
{
    int index;

    if (!completion->with_immediate) {
        rdisk_error_set(err, -EPROTO, "a message on a data queue");
        return NULL;
    }
    index = rdisk_wire_check_slot(completion->immediate, &queue->limits, err);
    return index < 0 ? NULL : free_slot(queue, (unsigned int)index, err);
}

static enum rdisk_status read_segments(struct rdisk_target_queue *queue,
                                       struct rdisk_target_slot *slot,
                                       const struct rdisk_request_view *view,
                                       const uint8_t *list,
                                       struct rdisk_error *err)
{
    struct rdisk_target_request *request = &slot->request;
    struct rdisk_wire_segment *segments = queue->segments +
                                          (size_t)request->slot *
                                              RDISK_SEGMENTS_MAX;
    enum rdisk_status status;

    if (view->segments > queue->max_segments) {
        rdisk_error_set(err, -EPROTO,
                        "a read of %u segments, the agreed limit is %u",
                        view->segments, queue->max_segments);
        return RDISK_STATUS_BAD_MESSAGE;
    }
    memcpy(segments, list, view->segments * sizeof(*segments));
    if (view->op != RDISK_OP_EXTENTS) {
        return rdisk_wire_check_segments(segments, view->segments, view->length,
                                         err);
    }
    status = rdisk_wire_check_room(segments, view->segments, &request->room,
                                   err);
    if (status == RDISK_STATUS_OK) {
        /* Whatever the client wrote there last: what the owner does not fill
         * goes back as zeroes. */
        memset(request->data, 0,
               request->room * sizeof(struct rdisk_wire_extent));
    }
    return status;
}

/*
 * A request whose check gave @status, with its segments at @list. False if it
 * violates the protocol.
 */
static bool take(struct rdisk_target_queue *queue,
                 struct rdisk_target_slot *slot,
                 const struct rdisk_request_view *view, const uint8_t *list,
                 enum rdisk_status status, uint64_t now,
                 struct rdisk_error *err)
{
    struct rdisk_target_request *request = &slot->request;

    if (status == RDISK_STATUS_OK && view->segments) {
        status = read_segments(queue, slot, view, list, err);
    }
    if (status == RDISK_STATUS_BAD_MESSAGE) {
        return false;
    }
    queue->limits.sequence++;
    request->op = view->op;
    request->flags = view->flags;
    request->offset = view->offset;
    request->source = view->source;
    request->length = view->length;
    request->received = now;
    slot->sequence = view->sequence;
    slot->segments = view->segments;
    slot->stored = NULL;
    slot->busy = true;
    if (status != RDISK_STATUS_OK) {
        log_refusal(queue, err);
        rdisk_target_queue_refuse(queue, slot, status);
        return true;
    }
    rdisk_target_queue_add_outstanding(queue, 1);
    queue->session->target->events->request(queue->user, request);
    return true;
}

/* What a checked header leaves for those that follow it. */
static void note_header(struct rdisk_target_queue *queue,
                        const struct rdisk_wire_request *wire,
                        const struct rdisk_request_view *view)
{
    if (view->op == RDISK_OP_WRITE) {
        queue->limits.base = rdisk_bare_base(view->offset);
    }
    if (view->sequence == 0) {
        queue->areas = le64toh(wire->areas);
        queue->areas_key = le32toh(wire->areas_key);
    }
}

static bool receive_header(struct rdisk_target_queue *queue,
                           struct rdisk_target_slot *slot,
                           const struct rdisk_qp_completion *completion,
                           uint64_t now, struct rdisk_error *err)
{
    struct rdisk_request_limits *limits = &queue->limits;
    const uint8_t *header = (uint8_t *)slot->request.data -
                            sizeof(struct rdisk_wire_request);
    struct rdisk_wire_request wire;
    struct rdisk_request_view view;
    enum rdisk_status status;

    limits->slot = slot->request.slot;
    limits->immediate_sequence = (uint16_t)completion->immediate;
    memcpy(&wire, header, sizeof(wire));
    status = rdisk_wire_check_request(&wire, limits, &view, err);
    note_header(queue, &wire, &view);
    return take(queue, slot, &view,
                header - view.segments * sizeof(struct rdisk_wire_segment),
                status, now, err);
}

static bool receive_bare(struct rdisk_target_queue *queue,
                         struct rdisk_target_slot *slot,
                         const struct rdisk_qp_completion *completion,
                         uint64_t now, struct rdisk_error *err)
{
    struct rdisk_request_view view;
    enum rdisk_status status = rdisk_wire_check_bare(completion->immediate,
                                                     completion->length,
                                                     &queue->limits, &view,
                                                     err);

    return take(queue, slot, &view, NULL, status, now, err);
}

/* The @i-th request of a vector, which is a copy. */
static bool receive_entry(struct rdisk_target_queue *queue,
                          const struct rdisk_wire_entry *entry, unsigned int i,
                          const struct rdisk_qp_completion *completion,
                          uint64_t now, struct rdisk_error *err)
{
    struct rdisk_request_limits *limits = &queue->limits;
    struct rdisk_target_slot *slot = free_slot(queue,
                                               le16toh(entry->request.slot),
                                               err);
    struct rdisk_request_view view;
    enum rdisk_status status;

    if (!slot) {
        return false;
    }
    /* The first one's is that of the immediate. */
    limits->slot = i ? slot->request.slot
                     : rdisk_vector_slot(completion->immediate);
    limits->immediate_sequence = (uint16_t)(completion->immediate + i);
    status = rdisk_wire_check_entry(entry, limits, &view, err);
    note_header(queue, &entry->request, &view);
    return take(queue, slot, &view, (const uint8_t *)&entry->segment, status,
                now, err);
}

/*
 * Answers go out at the end of the turn, so that no slot of the vector is the
 * client's again while it is read here.
 */
static bool receive_vector(struct rdisk_target_queue *queue,
                           const struct rdisk_target_slot *slot,
                           const struct rdisk_qp_completion *completion,
                           uint64_t now, unsigned int *requests,
                           struct rdisk_error *err)
{
    int count = rdisk_wire_check_vector(completion->length, err);
    struct rdisk_wire_entry entry;
    const uint8_t *from;

    if (count < 0) {
        return false;
    }
    *requests = (unsigned int)count;
    from = (uint8_t *)slot->request.data - completion->length;
    for (unsigned int i = 0; i < *requests; i++, from += sizeof(entry)) {
        memcpy(&entry, from, sizeof(entry));
        if (!receive_entry(queue, &entry, i, completion, now, err)) {
            return false;
        }
    }
    return true;
}

unsigned int rdisk_target_queue_receive(
    struct rdisk_target_queue *queue,
    const struct rdisk_qp_completion *completion, uint64_t now)
{
    struct rdisk_error err; /* filled by what fails */
    struct rdisk_target_slot *slot = find_slot(queue, completion, &err);
    unsigned int requests = 1;
    bool good;

    /* The volume may grow at any time. */
    queue->limits.size = atomic_load_explicit(&queue->session->size,
                                              memory_order_relaxed);
    if (!slot) {
        good = false;
    } else if (completion->immediate & RDISK_BARE_FLAG) {
        good = receive_bare(queue, slot, completion, now, &err);
    } else if (completion->immediate & RDISK_VECTOR_FLAG) {
        good = receive_vector(queue, slot, completion, now, &requests, &err);
    } else {
        good = receive_header(queue, slot, completion, now, &err);
    }
    if (!good) {
        rdisk_target_queue_violated(queue, &err);
    }
    return requests;
}
