/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest-memory=window: a read's memory is opened to the server by memory
 * windows, and closed before the read completes.
 *
 * A bind, the request's header, and later the invalidation are work requests
 * of the same queue pair, which carries them out in this order. The request
 * keeps its slot until the invalidation has completed; so its timeout counts
 * for that too, and an answer that comes twice finds it answered. On a queue
 * pair in ERROR the device allows no access, bound or not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/initiator/session.h"

static_assert(RDISK_SLOTS_MAX * RDISK_WINDOWS_PER_SLOT <= UINT16_MAX,
              "a window's index has 16 bits");

/* ---- For one connection ----------------------------------------------- */

int rdisk_queue_windows_create(struct rdisk_queue *queue,
                               struct rdisk_error *err)
{
    struct rdisk_initiator *session = queue->session;
    unsigned int count = session->queues.slots * RDISK_WINDOWS_PER_SLOT;
    struct rdisk_windows *windows = &queue->windows;

    windows->list = calloc(count, sizeof(windows->list[0]));
    if (!windows->list) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    for (unsigned int i = 0; i < count; i++) {
        struct rdisk_window *window = &windows->list[i];

        window->mw = session->env->verbs->alloc_mw(
            session->registrations.device->pd, IBV_MW_TYPE_2);
        if (!window->mw) {
            return rdisk_error_set(
                err, -errno,
                "RDMA device '%s' has no %u memory windows for a queue of %u "
                "slots (%s); use fewer slots, or guest-memory=bounce",
                session->registrations.device_name, count,
                session->queues.slots, strerror(errno));
        }
        window->rkey = window->mw->rkey;
        window->next = (uint16_t)(i + 1);
        windows->count++;
    }
    windows->free_first = 0;
    windows->free_count = count;
    return 0;
}

void rdisk_queue_windows_destroy(struct rdisk_queue *queue)
{
    struct rdisk_windows *windows = &queue->windows;

    for (unsigned int i = 0; i < windows->count; i++) {
        int ret = queue->session->env->verbs->dealloc_mw(windows->list[i].mw);

        if (ret < 0) {
            rdisk_log(queue->session->env, RDISK_LOG_WARNING,
                      "cannot release a memory window: %s", strerror(-ret));
        }
    }
    free(windows->list);
    memset(windows, 0, sizeof(*windows));
}

/* ---- Opening ----------------------------------------------------------- */

bool rdisk_queue_has_windows(const struct rdisk_queue *queue,
                             unsigned int pieces)
{
    return pieces <= RDISK_WINDOWS_PER_READ &&
           pieces <= queue->windows.free_count;
}

static void stage_bind(struct rdisk_queue *queue, struct rdisk_window *window,
                       struct rdisk_piece *piece)
{
    struct ibv_send_wr *wr = rdisk_qp_stage(&queue->qp);

    window->rkey = ibv_inc_rkey(window->mw->rkey);
    wr->opcode = IBV_WR_BIND_MW;
    wr->bind_mw.mw = window->mw;
    wr->bind_mw.rkey = window->rkey;
    wr->bind_mw.bind_info = (struct ibv_mw_bind_info) {
        .mr = piece->keys.mr,
        .addr = piece->address,
        .length = piece->length,
        .mw_access_flags = IBV_ACCESS_REMOTE_WRITE,
    };
    piece->keys.rkey = window->rkey;
}

void rdisk_queue_bind(struct rdisk_queue *queue, struct rdisk_request *request,
                      unsigned int pieces)
{
    struct rdisk_windows *windows = &queue->windows;

    request->window_first = windows->free_first;
    request->window_count = (uint16_t)pieces;
    request->awaits = RDISK_AWAITS_WINDOWS;
    for (unsigned int i = 0; i < pieces; i++) {
        struct rdisk_window *window = &windows->list[windows->free_first];

        stage_bind(queue, window, &queue->pieces[i]);
        windows->free_first = window->next;
    }
    windows->free_count -= pieces;
    rdisk_counter_add(&queue->windows_bound, pieces);
}

/* ---- Closing ----------------------------------------------------------- */

void rdisk_queue_answered(struct rdisk_queue *queue,
                          struct rdisk_request *request, int result)
{
    request->unanswered = false;
    request->result = result;
    request->next = NULL;
    *queue->answered_end = request;
    queue->answered_end = &request->next;
}

void rdisk_queue_await_sent(struct rdisk_queue *queue,
                            struct rdisk_request *request, int result)
{
    request->unanswered = false;
    request->result = result;
    request->next = NULL;
    *queue->revoking_end = request;
    queue->revoking_end = &request->next;
}

static struct ibv_send_wr *stage_invalidate(struct rdisk_queue *queue,
                                            struct rdisk_request *request)
{
    uint16_t index = request->window_first;
    struct ibv_send_wr *wr = NULL;

    for (unsigned int i = 0; i < request->window_count; i++) {
        struct rdisk_window *window = &queue->windows.list[index];

        wr = rdisk_qp_stage(&queue->qp);
        wr->opcode = IBV_WR_LOCAL_INV;
        wr->invalidate_rkey = window->rkey;
        /* The next bind starts from here. */
        window->mw->rkey = window->rkey;
        index = window->next;
    }
    request->revoked = rdisk_qp_staged(&queue->qp);
    return wr;
}

void rdisk_queue_revoke(struct rdisk_queue *queue)
{
    struct ibv_send_wr *last = NULL;

    while (queue->answered &&
           rdisk_queue_room(queue) >= queue->answered->window_count) {
        struct rdisk_request *request = queue->answered;

        queue->answered = request->next;
        last = stage_invalidate(queue, request);
        request->next = NULL;
        *queue->revoking_end = request;
        queue->revoking_end = &request->next;
    }
    if (!queue->answered) {
        queue->answered_end = &queue->answered;
    }
    if (last) {
        /* Its completion proves the others. */
        last->send_flags |= IBV_SEND_SIGNALED;
    }
}

static void give_windows(struct rdisk_windows *windows,
                         struct rdisk_request *request)
{
    uint16_t last = request->window_first;

    if (request->awaits != RDISK_AWAITS_WINDOWS) {
        return;
    }
    for (unsigned int i = 1; i < request->window_count; i++) {
        last = windows->list[last].next;
    }
    windows->list[last].next = windows->free_first;
    windows->free_first = request->window_first;
    windows->free_count += request->window_count;
    request->window_count = 0;
}

static void end(struct rdisk_queue *queue, struct rdisk_request *request)
{
    uint16_t slot = request->slot;

    if (request->awaits == RDISK_AWAITS_READ) {
        rdisk_resident_end(queue, request);
        return;
    }
    rdisk_queue_take_from_slot(queue, slot);
    rdisk_queue_release_slot(queue, slot);
    give_windows(&queue->windows, request);
    rdisk_queue_complete(queue, request, request->result);
}

unsigned int rdisk_queue_end_revoked(struct rdisk_queue *queue)
{
    unsigned int count = 0;

    while (queue->revoking &&
           rdisk_qp_sent(&queue->qp, queue->revoking->revoked)) {
        struct rdisk_request *request = queue->revoking;

        queue->revoking = request->next;
        if (!queue->revoking) {
            queue->revoking_end = &queue->revoking;
        }
        end(queue, request);
        count++;
    }
    return count;
}

unsigned int rdisk_queue_end_answered(struct rdisk_queue *queue)
{
    unsigned int count = 0;

    /* In the order of their answers: one list behind the other. */
    *queue->revoking_end = queue->answered;
    queue->answered = NULL;
    queue->answered_end = &queue->answered;
    while (queue->revoking) {
        struct rdisk_request *request = queue->revoking;

        queue->revoking = request->next;
        if (request->awaits == RDISK_AWAITS_READ) {
            rdisk_resident_again(queue, request);
            continue;
        }
        end(queue, request);
        count++;
    }
    queue->revoking_end = &queue->revoking;
    return count;
}
