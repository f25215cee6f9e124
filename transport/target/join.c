/* SPDX-License-Identifier: BSD-3-Clause */
/* A data queue joins the session that it belongs to. */
#include <errno.h>

#include "transport/target/queue.h"
#include "transport/target/session.h"

/* ---- Queues join ------------------------------------------------------ */

static enum rdisk_status check_join(const struct rdisk_target_session *session,
                                    const struct rdisk_wire_connect *wire,
                                    struct rdisk_error *err)
{
    unsigned int index = le16toh(wire->queue);
    unsigned int slots = le16toh(wire->slots);
    uint32_t slot_size = le32toh(wire->slot_size);

    if (le64toh(wire->epoch) != session->request.epoch) {
        rdisk_error_set(err, -ESTALE,
                        "the queue is of epoch %llu, the "
                        "session of epoch %llu",
                        (unsigned long long)le64toh(wire->epoch),
                        (unsigned long long)session->request.epoch);
        return RDISK_STATUS_STALE;
    }
    if (index > session->granted_queues || slots > session->granted_slots ||
        slot_size > session->granted_slot_size) {
        rdisk_error_set(err, -EPROTO,
                        "queue %u requests %u slots of %u bytes, granted were "
                        "%u queues of %u slots of %u",
                        index, slots, slot_size, session->granted_queues,
                        session->granted_slots, session->granted_slot_size);
        return RDISK_STATUS_BAD_MESSAGE;
    }
    for (const struct rdisk_target_queue *queue = session->queues; queue;
         queue = queue->next) {
        if (queue->index == index) {
            rdisk_error_set(err, -EPROTO, "queue %u has joined already", index);
            return RDISK_STATUS_BAD_MESSAGE;
        }
    }
    return RDISK_STATUS_OK;
}

enum rdisk_status rdisk_target_session_join(
    struct rdisk_target_session *session, const struct rdma_cm_event *event,
    const struct rdisk_wire_connect *wire, struct rdisk_error *err)
{
    struct rdisk_target *target = session->target;
    enum rdisk_status status = check_join(session, wire, err);
    struct rdma_cm_id *id = event->id;
    struct rdisk_target_queue *queue;

    if (status != RDISK_STATUS_OK) {
        return status;
    }
    queue = rdisk_target_queue_create(session, id, wire, err);
    if (!queue) {
        return RDISK_STATUS_NO_RESOURCES;
    }
    rdisk_target_resident_join(queue, event->param.conn.responder_resources);
    id->context = session;
    queue->next = session->queues;
    session->queues = queue;
    session->queue_count++;
    if (target->events->queue_new(target->opaque, session->user, queue,
                                  &queue->user, err) < 0) {
        session->queues = queue->next;
        session->queue_count--;
        queue->id = NULL; /* the caller rejects and destroys it */
        id->context = NULL;
        rdisk_target_queue_destroy(queue);
        return RDISK_STATUS_NO_RESOURCES;
    }
    rdisk_target_session_step(session, RDISK_TARGET_ON_JOINED);
    return RDISK_STATUS_OK;
}
