/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client's queue: requests wait for a slot, go out, and end with the answer
 * or with the connection. initiator_stage.c encodes them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "initiator_priv.h"

#define INLINE_WISH     256u    /* bytes: the header of a read of 12 pieces */
#define SGE_WISH        32u     /* places a work request gathers from */

/* ---- Life ------------------------------------------------------------- */

static int allocate(struct rdisk_queue *queue, struct rdisk_error *err)
{
    unsigned int slots = queue->session->info.slots;

    queue->in_slot = calloc(slots, sizeof(queue->in_slot[0]));
    queue->free_slots = calloc(slots, sizeof(queue->free_slots[0]));
    queue->deadlines = calloc(slots, sizeof(queue->deadlines[0]));
    queue->headers_size = (slots * RDISK_HEADER_MAX + 4095) & ~4095ul;
    queue->headers = aligned_alloc(4096, queue->headers_size);
    if (!queue->in_slot || !queue->free_slots || !queue->deadlines ||
        !queue->headers) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    for (unsigned int i = 0; i < slots; i++) {
        atomic_init(&queue->deadlines[i], RDISK_NEVER);
    }
    memset(queue->headers, 0, queue->headers_size);
    queue->waiting_end = &queue->waiting;
    return 0;
}

static int register_own(struct rdisk_queue *queue, struct rdisk_error *err)
{
    const struct rdisk_verbs *verbs = queue->session->env->verbs;
    struct ibv_pd *pd = queue->session->device->pd;

    queue->headers_mr = verbs->reg_mr(pd, queue->headers, queue->headers_size,
                                      IBV_ACCESS_LOCAL_WRITE);
    if (!queue->headers_mr) {
        return rdisk_memory_explain(err, errno ? -errno : -ENOMEM,
                                    queue->headers_size, 0);
    }
    return rdisk_bounce_create(&queue->bounce, verbs, pd,
                               queue->session->options.bounce_size, err);
}

int rdisk_queue_create(struct rdisk_queue *queue, struct rdisk_error *err)
{
    struct rdisk_initiator *session = queue->session;
    const struct rdisk_device_limits *limits = &session->device->limits;
    unsigned int slots = session->info.slots;
    unsigned int max_sge = limits->max_sge < SGE_WISH ? limits->max_sge
                                                      : SGE_WISH;
    /* Work requests of a write in the most pieces. */
    unsigned int longest = RDISK_SEGMENTS_MAX / max_sge + 1;
    /* Twice, since a quarter may be held by sends not yet proved done. */
    unsigned int sends = 2 * slots + 2 * longest;
    struct rdisk_qp_config config = {
        .send_depth = sends < limits->max_qp_wr ? sends : limits->max_qp_wr,
        .recv_depth = slots,    /* one answer for each slot */
        .max_sge = max_sge,
        .max_inline = INLINE_WISH,
    };
    int ret;

    if (config.send_depth < 2 * longest) {
        return rdisk_error_set(err, -ENOTSUP,
            "the RDMA device takes %u work requests per queue pair, %u are "
            "needed", limits->max_qp_wr, 2 * longest);
    }
    ret = allocate(queue, err);
    if (ret == 0) {
        ret = register_own(queue, err);
    }
    if (ret == 0) {
        ret = rdisk_qp_create(&queue->qp, session->env, queue->link.id,
                              session->device->pd, &config, err);
    }
    if (ret < 0) {
        rdisk_queue_destroy(queue);
        return ret;
    }
    rdisk_qp_arm(&queue->qp);
    queue->created = true;
    return 0;
}

void rdisk_queue_lease(struct rdisk_queue *queue,
                       const struct rdisk_wire_accept *accept)
{
    queue->base = le64toh(accept->base);
    queue->rkey = le32toh(accept->rkey);
    queue->stride = le32toh(accept->stride);
    queue->slots = le16toh(accept->slots);
    queue->max_segments = le16toh(accept->max_segments);
    /* Slot 0 on top of the stack. */
    for (unsigned int i = 0; i < queue->slots; i++) {
        queue->free_slots[i] = (uint16_t)(queue->slots - 1 - i);
    }
    queue->free_count = queue->slots;
}

void rdisk_queue_destroy(struct rdisk_queue *queue)
{
    rdisk_qp_destroy(&queue->qp);
    rdisk_bounce_destroy(&queue->bounce);
    if (queue->headers_mr) {
        queue->session->env->verbs->dereg_mr(queue->headers_mr);
        queue->headers_mr = NULL;
    }
    free(queue->headers);
    free(queue->in_slot);
    free(queue->free_slots);
    free(queue->deadlines);
    queue->headers = NULL;
    queue->in_slot = NULL;
    queue->free_slots = NULL;
    queue->deadlines = NULL;
    queue->created = false;
}

/* ---- Submission ------------------------------------------------------- */

static bool queue_ready(const struct rdisk_queue *queue)
{
    return !atomic_load_explicit(&queue->qp.broken, memory_order_relaxed) &&
           rdisk_initiator_state(queue->session) == RDISK_INITIATOR_READY;
}

static int check_request(const struct rdisk_queue *queue,
                         const struct rdisk_request *request)
{
    const struct rdisk_volume_info *info = &queue->session->info;
    uint64_t sum = 0;

    if (request->op == RDISK_OP_FLUSH) {
        return request->length || request->offset ? -EINVAL : 0;
    }
    for (unsigned int i = 0; i < request->iovcnt; i++) {
        sum += request->iov[i].iov_len;
    }
    if (request->length == 0 || sum != request->length ||
        request->length > info->max_transfer ||
        request->length % info->block_size ||
        request->offset % info->block_size ||
        request->offset > info->size ||
        request->length > info->size - request->offset) {
        return -EINVAL;
    }
    return 0;
}

int rdisk_queue_submit(struct rdisk_queue *queue,
                       struct rdisk_request *request)
{
    int ret;

    if (!queue_ready(queue)) {
        return -ENOTCONN;
    }
    ret = check_request(queue, request);
    if (ret < 0) {
        return ret;
    }
    request->next = NULL;
    request->bounced = false;
    request->chunk_count = 0;
    atomic_fetch_add_explicit(&queue->outstanding, 1, memory_order_relaxed);
    if (queue->waiting || !rdisk_queue_stage(queue, request)) {
        *queue->waiting_end = request;
        queue->waiting_end = &request->next;
        rdisk_counter_add(&queue->waited, 1);
    }
    return 0;
}

/* First come, first served: a large request is not passed by small ones. */
static void stage_waiting(struct rdisk_queue *queue)
{
    while (queue->waiting && queue_ready(queue)) {
        struct rdisk_request *request = queue->waiting;
        struct rdisk_request *next = request->next;

        if (!rdisk_queue_stage(queue, request)) {
            return;
        }
        queue->waiting = next;
        if (!next) {
            queue->waiting_end = &queue->waiting;
        }
    }
}

void rdisk_queue_kick(struct rdisk_queue *queue)
{
    rdisk_qp_post(&queue->qp);
}

/* ---- Completion ------------------------------------------------------- */

static void count_completed(struct rdisk_queue *queue,
                            const struct rdisk_request *request, int result)
{
    if (result < 0) {
        rdisk_counter_add(&queue->failed, 1);
    }
    switch (request->op) {
    case RDISK_OP_READ:
        rdisk_counter_add(&queue->reads, 1);
        rdisk_counter_add(&queue->read_bytes, request->length);
        break;
    case RDISK_OP_WRITE:
        rdisk_counter_add(&queue->writes, 1);
        rdisk_counter_add(&queue->write_bytes, request->length);
        break;
    case RDISK_OP_FLUSH:
        rdisk_counter_add(&queue->flushes, 1);
        break;
    }
}

static void complete(struct rdisk_queue *queue, struct rdisk_request *request,
                     int result)
{
    if (request->bounced) {
        if (request->op == RDISK_OP_READ && result == 0) {
            rdisk_bounce_copy_out(&queue->bounce, request->chunk_first,
                                  request->iov, request->iovcnt);
            rdisk_counter_add(&queue->copied_bytes, request->length);
        }
        rdisk_bounce_give(&queue->bounce, request->chunk_first,
                          request->chunk_count);
        rdisk_counter_add(&queue->bounced, 1);
    }
    count_completed(queue, request, result);
    atomic_fetch_sub_explicit(&queue->outstanding, 1, memory_order_release);
    request->complete(request, result);
}

static struct rdisk_request *take_from_slot(struct rdisk_queue *queue,
                                            uint16_t slot)
{
    struct rdisk_request *request = queue->in_slot[slot];

    queue->in_slot[slot] = NULL;
    atomic_fetch_sub_explicit(&queue->in_slots, 1, memory_order_release);
    atomic_store_explicit(&queue->deadlines[slot], RDISK_NEVER,
                          memory_order_relaxed);
    return request;
}

/* An answer that fits no request: the server cannot be trusted any more. */
static void bad_answer(struct rdisk_queue *queue, uint32_t immediate)
{
    rdisk_log(queue->session->env, RDISK_LOG_ERROR,
              "queue %u: answer 0x%08x fits no request", queue->link.queue,
              immediate);
    rdisk_qp_break(&queue->qp);
}

static bool answer(struct rdisk_queue *queue,
                   const struct rdisk_qp_completion *completion)
{
    uint16_t slot = (uint16_t)(completion->immediate >> 16);
    uint8_t sequence = (uint8_t)(completion->immediate >> 8);
    uint8_t status = (uint8_t)completion->immediate;
    struct rdisk_request *request;

    if (!completion->with_immediate || slot >= queue->slots ||
        !queue->in_slot[slot] ||
        (uint8_t)queue->in_slot[slot]->sequence != sequence) {
        bad_answer(queue, completion->immediate);
        return false;
    }
    request = take_from_slot(queue, slot);
    queue->free_slots[queue->free_count++] = slot;
    complete(queue, request, rdisk_status_to_errno(status));
    return true;
}

/* The device has let go of everything: the requests end here. */
static unsigned int fail_all(struct rdisk_queue *queue)
{
    struct rdisk_initiator *session = queue->session;
    unsigned int count = 0;
    int code = -EIO;

    if (rdisk_initiator_state(session) == RDISK_INITIATOR_FAILED) {
        code = session->error.code;
    }
    for (unsigned int i = 0; i < queue->slots; i++) {
        if (queue->in_slot[i]) {
            complete(queue, take_from_slot(queue, (uint16_t)i), code);
            count++;
        }
    }
    while (queue->waiting) {
        struct rdisk_request *request = queue->waiting;

        queue->waiting = request->next;
        if (!queue->waiting) {
            queue->waiting_end = &queue->waiting;
        }
        complete(queue, request, code);
        count++;
    }
    return count;
}

/* Tell the home thread once; it ends the session and the other queues. */
static void report_broken(struct rdisk_queue *queue)
{
    uint64_t one = 1;

    if (!queue->reported) {
        queue->reported = true;
        if (write(queue->session->alarm_fd, &one, sizeof(one)) < 0) {
            rdisk_log(queue->session->env, RDISK_LOG_ERROR,
                      "cannot wake the session: %s", strerror(errno));
        }
    }
}

unsigned int rdisk_queue_process(struct rdisk_queue *queue)
{
    struct rdisk_qp_completion completion;
    unsigned int count = 0;

    rdisk_qp_take_events(&queue->qp);
    rdisk_qp_arm(&queue->qp);
    while (rdisk_qp_next(&queue->qp, &completion)) {
        count += answer(queue, &completion);
    }
    /* Receives first: an answer must never find none. */
    rdisk_qp_replenish(&queue->qp);
    stage_waiting(queue);
    rdisk_qp_post(&queue->qp);
    if (atomic_load_explicit(&queue->qp.broken, memory_order_relaxed)) {
        report_broken(queue);
        if (rdisk_qp_drained(&queue->qp)) {
            count += fail_all(queue);
        }
    }
    return count;
}

bool rdisk_queue_pending(struct rdisk_queue *queue)
{
    return rdisk_qp_pending(&queue->qp);
}

/* ---- For others to look at -------------------------------------------- */

int rdisk_queue_fd(const struct rdisk_queue *queue)
{
    return rdisk_qp_fd(&queue->qp);
}

bool rdisk_queue_idle(const struct rdisk_queue *queue)
{
    return atomic_load_explicit(&queue->outstanding,
                                memory_order_acquire) == 0;
}

bool rdisk_queue_dry(struct rdisk_queue *queue)
{
    return atomic_load_explicit(&queue->in_slots, memory_order_acquire) == 0;
}

bool rdisk_queue_overdue(struct rdisk_queue *queue, uint64_t now)
{
    for (unsigned int i = 0; i < queue->slots; i++) {
        if (atomic_load_explicit(&queue->deadlines[i],
                                 memory_order_relaxed) <= now) {
            return true;
        }
    }
    return false;
}

void rdisk_queue_counters(const struct rdisk_queue *queue,
                          struct rdisk_queue_counters *counters)
{
    *counters = (struct rdisk_queue_counters) {
        .reads = rdisk_counter_read(&queue->reads),
        .writes = rdisk_counter_read(&queue->writes),
        .flushes = rdisk_counter_read(&queue->flushes),
        .failed = rdisk_counter_read(&queue->failed),
        .read_bytes = rdisk_counter_read(&queue->read_bytes),
        .write_bytes = rdisk_counter_read(&queue->write_bytes),
        .copied_bytes = rdisk_counter_read(&queue->copied_bytes),
        .bounced = rdisk_counter_read(&queue->bounced),
        .waited = rdisk_counter_read(&queue->waited),
        .work_requests = rdisk_counter_read(&queue->qp.work_requests),
        .doorbells = rdisk_counter_read(&queue->qp.doorbells),
        .receives = rdisk_counter_read(&queue->qp.receives),
        .wakeups = rdisk_counter_read(&queue->qp.wakeups),
    };
}
