/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A volume that is resident in the server's memory: the client reads it by RDMA
 * READ, without a message. What else is requested of it goes by
 * messages, and so do READs where the device or the server has none of that, or
 * after they have failed.
 *
 * Data that arrives late cannot go into memory that is the caller's again: a
 * READ ends when its completion is there, or its queue pair is empty.
 */
#include "transport/initiator/session.h"

/* Connections in a row. */
#define LOST_MAX 3u

unsigned int rdisk_resident_reads(const struct rdisk_initiator *session)
{
    return session->handshake.resident && !atomic_load(&session->reads_off)
               ? session->registrations.device->limits.reads_out
               : 0;
}

unsigned int rdisk_resident_longest(const struct rdisk_initiator *session)
{
    unsigned int most = session->registrations.device->limits.max_sge_read;

    return rdisk_resident_reads(session)
               ? (RDISK_SEGMENTS_MAX + most - 1) / most
               : 0;
}

void rdisk_resident_accepted(struct rdisk_queue *queue,
                             const struct rdisk_wire_resident *wire)
{
    unsigned int wanted = rdisk_resident_reads(queue->session);
    unsigned int reads = le16toh(wire->reads);

    queue->resident = (struct rdisk_resident) {
        .on = reads && reads <= wanted &&
              rdisk_resident_longest(queue->session) <
                  queue->qp.config.send_depth,
        .address = le64toh(wire->address),
        .key = le32toh(wire->key),
    };
    queue->reads = 0;
    queue->has_read = false;
    atomic_store(&queue->read_seen, RDISK_NEVER);
}

/* ---- Requests ---------------------------------------------------------- */

/* Another one is the first in flight, or there is none. */
static void see_next(struct rdisk_queue *queue)
{
    atomic_store_explicit(&queue->read_seen,
                          queue->reads ? RDISK_SLOT_UNSEEN : RDISK_NEVER,
                          memory_order_relaxed);
}

static unsigned int max_sge(const struct rdisk_queue *queue)
{
    unsigned int most =
        queue->session->registrations.device->limits.max_sge_read;

    return most < queue->qp.config.max_sge ? most : queue->qp.config.max_sge;
}

/* Into queue->pieces. Returns the last work request. */
static struct ibv_send_wr *stage_reads(struct rdisk_queue *queue, uint64_t from,
                                       unsigned int pieces, unsigned int most)
{
    struct ibv_send_wr *wr = NULL;

    for (unsigned int i = 0; i < pieces; i++) {
        const struct rdisk_piece *piece = &queue->pieces[i];

        if (i % most == 0) {
            wr = rdisk_qp_stage(&queue->qp);
            wr->opcode = IBV_WR_RDMA_READ;
            wr->wr.rdma.remote_addr = from;
            wr->wr.rdma.rkey = queue->resident.key;
        }
        wr->sg_list[wr->num_sge++] = (struct ibv_sge) {
            .addr = piece->address,
            .length = piece->length,
            .lkey = piece->keys.lkey,
        };
        from += piece->length;
    }
    return wr;
}

/* It takes no slot and no sequence, and ends when its last work request has
 * completed: which proves those before it. */
bool rdisk_resident_stage(struct rdisk_queue *queue,
                          struct rdisk_request *request, unsigned int pieces)
{
    unsigned int most = max_sge(queue);
    struct ibv_send_wr *last;

    if (rdisk_queue_room(queue) < (pieces + most - 1) / most) {
        return false;
    }
    last = stage_reads(queue, queue->resident.address + request->offset, pieces,
                       most);
    last->send_flags |= IBV_SEND_SIGNALED;
    request->awaits = RDISK_AWAITS_READ;
    request->revoked = rdisk_qp_staged(&queue->qp);
    atomic_fetch_add_explicit(&queue->in_slots, 1, memory_order_relaxed);
    if (queue->reads++ == 0) {
        see_next(queue);
    }
    rdisk_queue_await_sent(queue, request, 0);
    return true;
}

/* It is not in flight any more. */
static void leave(struct rdisk_queue *queue)
{
    queue->reads--;
    see_next(queue);
    atomic_fetch_sub_explicit(&queue->in_slots, 1, memory_order_release);
}

void rdisk_resident_end(struct rdisk_queue *queue,
                        struct rdisk_request *request)
{
    leave(queue);
    if (!queue->has_read) {
        queue->has_read = true;
        atomic_store(&queue->session->reads_lost, 0);
    }
    rdisk_counter_add(&queue->one_sided, 1);
    rdisk_queue_complete(queue, request, request->result);
}

void rdisk_resident_again(struct rdisk_queue *queue,
                          struct rdisk_request *request)
{
    leave(queue);
    rdisk_queue_wait_again(queue, request);
}

/* True if one side's device refuses it, and would do so again. */
static bool is_refusal(int status)
{
    return status == IBV_WC_REM_ACCESS_ERR ||
           status == IBV_WC_REM_INV_REQ_ERR ||
           status == IBV_WC_REM_INV_RD_REQ_ERR || status == IBV_WC_REM_OP_ERR ||
           status == IBV_WC_LOC_PROT_ERR || status == IBV_WC_LOC_LEN_ERR;
}

/* True if one connection after the other was lost with READs in flight, and
 * none of them has succeeded on any: the next one would be lost, too. */
static bool is_lost_again(struct rdisk_queue *queue)
{
    struct rdisk_initiator *session = queue->session;

    if (!queue->reads || queue->has_read) {
        return false;
    }
    /* Once for all queues of a connection. */
    if (atomic_exchange(&session->reads_lost_in, session->epoch) !=
        session->epoch) {
        atomic_fetch_add(&session->reads_lost, 1);
    }
    return atomic_load(&session->reads_lost) >= LOST_MAX;
}

void rdisk_resident_lost(struct rdisk_queue *queue)
{
    struct rdisk_initiator *session = queue->session;
    int reason = atomic_load(&queue->qp.reason);

    if ((is_lost_again(queue) || is_refusal(reason)) &&
        !atomic_exchange(&session->reads_off, true)) {
        rdisk_log(session->env, RDISK_LOG_WARNING,
                  "RDMA READs of %s have failed (%s): from now on volume '%s' "
                  "is read by messages",
                  session->peer,
                  reason == IBV_WC_SUCCESS ? "no answer"
                                           : rdisk_wc_status_name(reason),
                  session->options.volume);
    }
    queue->resident.on = false;
}
