/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's data path: a request arrives in its slot (receive.c), the owner
 * carries it out, the answer is an immediate, with the payload of a read before
 * it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/target/queue.h"
#include "transport/verbs/conn_param.h"
#include "transport/target/session.h"

/* Room for the answers of all slots and two reads in the most pieces. */
#define SENDS(slots) (2 * (slots) + 2 * RDISK_SEGMENTS_MAX)

/* ---- Life ------------------------------------------------------------- */

/* Those that come on top of what was granted. */
static unsigned int base_slots(const struct rdisk_target_session *session)
{
    unsigned int count = 0;
    uint32_t slot_size;

    if (session->features & RDISK_FEATURE_SLOTS) {
        rdisk_target_base(session, &count, &slot_size);
    }
    return count;
}

static int allocate(struct rdisk_target_queue *queue, struct rdisk_error *err)
{
    queue->slot = calloc(queue->slots, sizeof(queue->slot[0]));
    queue->segments = calloc((size_t)queue->slots * RDISK_SEGMENTS_MAX,
                             sizeof(queue->segments[0]));
    if (!queue->slot || !queue->segments) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    for (unsigned int i = 0; i < queue->slots; i++) {
        queue->slot[i].request.queue = queue;
        queue->slot[i].request.slot = (uint16_t)i;
    }
    queue->waiting_end = &queue->waiting;
    return 0;
}

/* All its slots, or what it begins with. */
static int create_base(struct rdisk_target_queue *queue,
                       struct rdisk_error *err)
{
    struct rdisk_target_session *session = queue->session;
    unsigned int count = queue->slots;
    uint32_t slot_size = queue->limits.slot_size;

    if (session->features & RDISK_FEATURE_SLOTS) {
        rdisk_target_base(session, &count, &slot_size);
    }
    queue->base = rdisk_target_slots_create(queue, 0, count, slot_size, err);
    return queue->base ? 0 : -ENOMEM;
}

static int create_verbs(struct rdisk_target_queue *queue,
                        struct rdisk_error *err)
{
    struct rdisk_target_session *session = queue->session;
    struct rdisk_target *target = session->target;
    const struct rdisk_env *env = target->env;
    unsigned int sends = SENDS(queue->slots);
    struct rdisk_qp_config config = {
        .counters = &queue->qp_counters,
        .send_depth = sends < session->limits.max_qp_wr
                          ? sends
                          : session->limits.max_qp_wr,
        .recv_depth = queue->slots, /* one request for each slot */
        .max_sge = 1,
    };
    int ret;

    /* Half, since a quarter may be held by sends not yet proved done. */
    queue->max_segments = config.send_depth / 2 < RDISK_SEGMENTS_MAX
                              ? config.send_depth / 2
                              : RDISK_SEGMENTS_MAX;
    if (queue->max_segments < RDISK_SEGMENTS_MIN) {
        return rdisk_error_set(
            err, -ENOTSUP,
            "the RDMA device takes %u work requests per queue pair, %u are "
            "needed",
            config.send_depth, 2 * RDISK_SEGMENTS_MIN);
    }
    queue->cq = rdisk_target_cq_join(target->events->queue_group(target->opaque,
                                                                 session->user),
                                     queue->id->verbs, &session->limits,
                                     &config, err);
    if (!queue->cq) {
        return -ENOMEM;
    }
    ret = rdisk_qp_create(&queue->qp, env, queue->id, session->pd, &config,
                          err);
    if (ret < 0) {
        rdisk_target_cq_leave(queue->cq, &config);
        queue->cq = NULL;
    }
    return ret;
}

struct rdisk_target_queue *rdisk_target_queue_create(
    struct rdisk_target_session *session, struct rdma_cm_id *id,
    const struct rdisk_wire_connect *wire, struct rdisk_error *err)
{
    struct rdisk_target_queue *queue = calloc(1, sizeof(*queue));

    if (!queue) {
        rdisk_error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    queue->session = session;
    queue->id = id;
    queue->index = le16toh(wire->queue);
    queue->slots = le16toh(wire->slots) + base_slots(session);
    queue->limits = (struct rdisk_request_limits) {
        .epoch = session->request.epoch,
        .block_size = session->grant.block_size,
        .slot_size = le32toh(wire->slot_size),
        .slots = queue->slots,
        .bare_bits = rdisk_bare_bits(queue->slots),
        .bare = session->features & RDISK_FEATURE_BARE,
        .vector = session->features & RDISK_FEATURE_VECTOR,
        .counted = session->features &
                   (RDISK_FEATURE_BARE | RDISK_FEATURE_VECTOR),
        .read_only = session->request.read_only,
        .discard = rdisk_target_session_has(session, RDISK_FEATURE_DISCARD,
                                            session->grant.discard),
        .zeroes = rdisk_target_session_has(session, RDISK_FEATURE_ZEROES,
                                           session->grant.zeroes),
        .extents = rdisk_target_session_has(session, RDISK_FEATURE_EXTENTS,
                                            session->grant.extents),
        .copy = rdisk_target_session_has(session, RDISK_FEATURE_COPY,
                                         session->grant.copy),
        .long_extents = rdisk_target_session_has(session,
                                                 RDISK_FEATURE_LONG_EXTENTS,
                                                 session->grant.extents),
    };
    if (allocate(queue, err) < 0 || create_base(queue, err) < 0 ||
        create_verbs(queue, err) < 0) {
        queue->id = NULL; /* stays the caller's */
        rdisk_target_queue_destroy(queue);
        return NULL;
    }
    return queue;
}

void rdisk_target_queue_destroy(struct rdisk_target_queue *queue)
{
    struct rdisk_target_session *session = queue->session;

    if (rdisk_qp_link_suspect(&queue->qp)) {
        session->link_suspect = true;
    }
    rdisk_qp_destroy(&queue->qp);
    if (queue->cq) {
        rdisk_target_cq_leave(queue->cq, &queue->qp.config);
    }
    rdisk_target_share_leave(queue);
    rdisk_target_slots_destroy(queue, queue->base);
    if (queue->id) {
        rdisk_cm_teardowns_add(&session->target->teardowns, queue->id,
                               session->link_suspect);
    }
    free(queue->slot);
    free(queue->segments);
    free(queue);
}

/* ---- Answers ---------------------------------------------------------- */

/* The pieces of a successful read, or of a list of extents, in order. Returns
 * the last one. */
static struct ibv_send_wr *stage_payload(struct rdisk_target_queue *queue,
                                         const struct rdisk_target_slot *slot)
{
    const struct rdisk_wire_segment *segment = queue->segments +
                                               (size_t)slot->request.slot *
                                                   RDISK_SEGMENTS_MAX;
    uint64_t from = (uintptr_t)slot->request.data;
    uint32_t lkey = slot->slots->mr->lkey;
    struct ibv_send_wr *wr = NULL;

    if (__builtin_expect(slot->stored != NULL, false)) {
        from = (uintptr_t)slot->stored;
        lkey = queue->session->resident->lkey;
    }

    for (unsigned int i = 0; i < slot->segments; i++) {
        wr = rdisk_qp_stage(&queue->qp);
        wr->opcode = IBV_WR_RDMA_WRITE;
        wr->num_sge = 1;
        wr->sg_list[0] = (struct ibv_sge) {
            .addr = from,
            .length = le32toh(segment[i].length),
            .lkey = lkey,
        };
        wr->wr.rdma.remote_addr = le64toh(segment[i].address);
        wr->wr.rdma.rkey = le32toh(segment[i].key);
        from += wr->sg_list[0].length;
    }
    return wr;
}

static bool has_payload(const struct rdisk_target_slot *slot)
{
    return rdisk_op_has_segments(slot->request.op) &&
           slot->status == RDISK_STATUS_OK;
}

static uint32_t immediate_of(const struct rdisk_target_slot *slot)
{
    return rdisk_imm_answer(slot->request.slot, slot->sequence,
                            (uint8_t)slot->status);
}

/* It will go out, or has; its slot is the client's when it has. */
static void count_answer(struct rdisk_target_queue *queue,
                         struct rdisk_target_slot *slot)
{
    rdisk_op_count(&queue->ops, slot->request.op, slot->request.length,
                   slot->status != RDISK_STATUS_OK);
    rdisk_target_queue_answered(queue, slot);
    slot->busy = false;
}

/* An answer in a message of its own, after its payload, if any. */
static void stage_answer(struct rdisk_target_queue *queue,
                         const struct rdisk_target_slot *slot)
{
    struct ibv_send_wr *wr;

    if (has_payload(slot)) {
        wr = stage_payload(queue, slot);
    } else {
        /* A write of nothing: no key is needed. */
        wr = rdisk_qp_stage(&queue->qp);
        wr->wr.rdma.remote_addr = 0;
        wr->wr.rdma.rkey = 0;
    }
    wr->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
    wr->imm_data = htonl(immediate_of(slot));
}

/*
 * Answers without payload that go in one message. They are gathered in the
 * header area of the first one's slot, whose request has been read, and which
 * is not used again before they have arrived.
 */
struct vector {
    struct rdisk_target_slot *first;
    unsigned int count;
};

static rdisk_le32 *answers_of(const struct vector *vector)
{
    return (rdisk_le32 *)(void *)((uint8_t *)vector->first->request.data -
                                  RDISK_HEADER_AREA);
}

static void add_to_vector(struct vector *vector, struct rdisk_target_slot *slot)
{
    if (vector->count == 0) {
        vector->first = slot;
    }
    answers_of(vector)[vector->count++] = htole32(immediate_of(slot));
}

static void stage_vector(struct rdisk_target_queue *queue,
                         struct vector *vector)
{
    uint16_t slot = vector->first->request.slot;
    struct ibv_send_wr *wr;

    if (vector->count < RDISK_VECTOR_MIN) {
        stage_answer(queue, vector->first);
    } else {
        wr = rdisk_qp_stage(&queue->qp);
        wr->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
        wr->imm_data = htonl(rdisk_imm_vector(slot, vector->count));
        wr->num_sge = 1;
        wr->sg_list[0] = (struct ibv_sge) {
            .addr = (uintptr_t)answers_of(vector),
            .length = (uint32_t)(vector->count * sizeof(rdisk_le32)),
            .lkey = vector->first->slots->mr->lkey,
        };
        wr->wr.rdma.remote_addr = queue->areas + slot * RDISK_ANSWER_AREA;
        wr->wr.rdma.rkey = queue->areas_key;
    }
    vector->count = 0;
}

static void answer(struct rdisk_target_queue *queue,
                   struct rdisk_target_slot *slot, enum rdisk_status status)
{
    slot->status = status;
    if (atomic_load_explicit(&queue->qp.broken, memory_order_relaxed)) {
        slot->busy = false;
        return;
    }
    slot->next = NULL;
    *queue->waiting_end = slot;
    queue->waiting_end = &slot->next;
}

/* The answers of a turn, as far as the send queue has room for them. */
static void stage_waiting(struct rdisk_target_queue *queue)
{
    struct vector vector = { .count = 0 };

    while (queue->waiting) {
        struct rdisk_target_slot *slot = queue->waiting;
        bool payload = has_payload(slot);
        unsigned int need = payload ? slot->segments : 1;

        /* One is kept for the vector. */
        if (rdisk_qp_room(&queue->qp) < need + (vector.count != 0)) {
            break;
        }
        queue->waiting = slot->next;
        count_answer(queue, slot);
        if (payload || !queue->areas_key) {
            stage_answer(queue, slot);
            continue;
        }
        add_to_vector(&vector, slot);
        if (vector.count == RDISK_VECTOR_MAX) {
            stage_vector(queue, &vector);
        }
    }
    if (!queue->waiting) {
        queue->waiting_end = &queue->waiting;
    }
    if (vector.count) {
        stage_vector(queue, &vector);
    }
}

void rdisk_target_queue_refuse(struct rdisk_target_queue *queue,
                               struct rdisk_target_slot *slot,
                               enum rdisk_status status)
{
    answer(queue, slot, status);
}

void rdisk_target_complete(struct rdisk_target_request *request,
                           enum rdisk_status status)
{
    struct rdisk_target_queue *queue = request->queue;
    RDISK_USE(queue);

    rdisk_target_queue_add_outstanding(queue, -1);
    answer(queue, &queue->slot[request->slot], status);
}

void rdisk_target_queue_break(struct rdisk_target_queue *queue)
{
    rdisk_qp_break(&queue->qp);
}

/* ---- Reactor's calls -------------------------------------------------- */

/* Report to the owner once, when nothing can touch the slots any more. */
static bool report_idle(struct rdisk_target_queue *queue)
{
    if (queue->idle_reported ||
        atomic_load_explicit(&queue->outstanding, memory_order_relaxed) ||
        !rdisk_qp_drained(&queue->qp)) {
        return false;
    }
    queue->idle_reported = true;
    rdisk_target_cq_forget(queue->cq, queue);
    queue->session->target->events->queue_idle(queue->user, queue);
    return true;
}

void rdisk_target_queue_start(struct rdisk_target_queue *queue)
{
    struct rdisk_wire_accept_resident wire = {
        .accept = {
            .magic = htole32(RDISK_WIRE_MAGIC),
            .version = htole16(RDISK_WIRE_VERSION),
            .queue = htole16((uint16_t)queue->index),
            .slots = htole16((uint16_t)queue->base->count),
            .max_segments = htole16((uint16_t)queue->max_segments),
            .slot_size = htole32(queue->base->slot_size),
            .base = htole64((uintptr_t)queue->base->grant.memory),
            .rkey = htole32(queue->base->mr->rkey),
            .stride = htole32(rdisk_target_stride(queue->base->slot_size)),
        },
    };
    size_t more = rdisk_target_resident_accept(queue, &wire.resident);
    struct rdma_conn_param param =
        rdisk_conn_param(&wire, (uint8_t)(sizeof(wire.accept) + more));
    const struct rdisk_env *env = queue->session->target->env;
    struct rdisk_error err;
    int ret;

    param.responder_resources = (uint8_t)queue->reads;
    rdisk_target_cq_enter(queue->cq, queue);
    rdisk_target_cq_arm(queue->cq);
    rdisk_qp_drain_events(&queue->qp);
    if (rdisk_qp_begin(&queue->qp, &err) < 0) {
        rdisk_qp_break(&queue->qp);
    }
    if (!atomic_load(&queue->qp.broken)) {
        env->verbs->set_ack_timeout(queue->id, RDISK_ACK_TIMEOUT);
        ret = env->verbs->accept(queue->id, &param);
        if (ret < 0) {
            rdisk_log(env, RDISK_LOG_WARNING, "accepting a queue failed: %s",
                      strerror(-ret));
            rdisk_qp_break(&queue->qp);
        }
    }
    report_idle(queue);
}

struct rdisk_target_cq *rdisk_target_queue_cq(
    const struct rdisk_target_queue *queue)
{
    return queue->cq;
}

unsigned int rdisk_target_queue_take(struct rdisk_target_queue *queue,
                                     const struct ibv_wc *wc, uint64_t now)
{
    RDISK_USE(queue);
    struct rdisk_qp_completion completion;

    return rdisk_qp_take(&queue->qp, wc, &completion)
               ? rdisk_target_queue_receive(queue, &completion, now)
               : 0;
}

void rdisk_target_queue_kick(struct rdisk_target_queue *queue)
{
    rdisk_use_begin(&queue->use);
    stage_waiting(queue);
    if (__builtin_expect(queue->retiring != NULL, false)) {
        rdisk_target_slots_fence(queue);
    }
    rdisk_qp_post(&queue->qp);
    rdisk_target_queue_posted(queue);
    if (__builtin_expect(queue->retiring != NULL, false)) {
        rdisk_target_slots_end(queue);
    }
    rdisk_use_end(&queue->use);
    if (atomic_load_explicit(&queue->qp.broken, memory_order_relaxed)) {
        report_idle(queue);
    }
}

struct rdisk_target_grant *rdisk_target_queue_base(
    const struct rdisk_target_queue *queue)
{
    return &queue->base->grant;
}

uint64_t rdisk_target_queue_memory(const struct rdisk_target_queue *queue)
{
    uint64_t bytes = queue->base->grant.length;

    for (const struct rdisk_target_slots *slots = queue->grants; slots;
         slots = slots->next) {
        bytes += slots->grant.length;
    }
    return bytes;
}

bool rdisk_target_queue_broken(const struct rdisk_target_queue *queue)
{
    return atomic_load_explicit(&queue->qp.broken, memory_order_acquire);
}

unsigned int rdisk_target_queue_slots(const struct rdisk_target_queue *queue)
{
    return queue->slots;
}

void rdisk_target_queue_counters(const struct rdisk_target_queue *queue,
                                 struct rdisk_target_counters *counters)
{
    rdisk_op_counters_read(&queue->ops, &counters->ops);
    counters->refused += rdisk_counter_read(&queue->refused);
    counters->receives += rdisk_counter_read(&queue->qp_counters.receives);
    counters->work_requests += rdisk_counter_read(
        &queue->qp_counters.work_requests);
    counters->doorbells += rdisk_counter_read(&queue->qp_counters.doorbells);
    counters->wakeups += rdisk_counter_read(&queue->qp_counters.wakeups);
    counters->in_flight += atomic_load_explicit(&queue->outstanding,
                                                memory_order_relaxed);
    for (unsigned int op = 0; op < RDISK_OPS; op++) {
        for (unsigned int i = 0; i < RDISK_HISTOGRAM_BUCKETS; i++) {
            counters->latency[op][i] += rdisk_counter_read(
                &queue->latency[op].bucket[i]);
        }
        counters->latency_sum[op] += rdisk_counter_read(
            &queue->latency[op].sum);
    }
}
