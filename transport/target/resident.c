/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A volume whose data is in the server's memory, and does not change as long as
 * a session has it: READs are answered from there without a copy, and clients
 * may read it by RDMA READ, which no program of the server notices.
 *
 * The memory is registered in the protection domain of each session, to be read
 * only, so that the device itself checks each READ: it has to come over a queue
 * of that session, and stay within that volume. Nothing is revoked by the key:
 * a session ends with its queue pairs in ERROR, from which no READ is answered,
 * and only when they are destroyed the memory is the owner's again.
 */
#include <errno.h>
#include <string.h>

#include "transport/target/queue.h"
#include "transport/target/session.h"
#include "transport/verbs/mr.h"

/* ---- The session -------------------------------------------------------- */

int rdisk_target_session_register(struct rdisk_target_session *session,
                                  const void *memory, uint64_t length,
                                  struct rdisk_error *err)
{
    RDISK_CONTRACT(!session->resident);
    session->resident = rdisk_mr_register_constant(session->target->env->verbs,
                                                   session->pd, memory, length,
                                                   err);
    return session->resident ? 0 : -ENOMEM;
}

void rdisk_target_session_deregister(struct rdisk_target_session *session)
{
    RDISK_CONTRACT(!session->queues && !session->held);
    rdisk_mr_deregister(session->target->env->verbs, session->resident);
    session->resident = NULL;
}

bool rdisk_target_session_one_sided(const struct rdisk_target_session *session)
{
    return session->resident && session->grant.one_sided &&
           session->grant.read_only && session->limits.reads_in &&
           (session->features & RDISK_FEATURE_RESIDENT);
}

void rdisk_target_session_hold(struct rdisk_target_session *session)
{
    RDISK_USE(session->target);

    RDISK_CONTRACT(!session->held);
    session->held = true;
}

void rdisk_target_session_let_go(struct rdisk_target_session *session)
{
    struct rdisk_target *target = session->target;
    RDISK_USE(target);

    RDISK_CONTRACT(session->held);
    session->held = false;
    if (!target->processing) {
        rdisk_target_reap(target);
    }
}

/* ---- Its queues -------------------------------------------------------- */

void rdisk_target_resident_join(struct rdisk_target_queue *queue,
                                unsigned int wanted)
{
    const struct rdisk_target_session *session = queue->session;
    unsigned int most = session->limits.reads_in;

    if (rdisk_target_session_one_sided(session)) {
        queue->reads = wanted < most ? wanted : most;
    }
}

size_t rdisk_target_resident_accept(const struct rdisk_target_queue *queue,
                                    struct rdisk_wire_resident *wire)
{
    const struct ibv_mr *mr = queue->session->resident;

    if (!rdisk_target_session_one_sided(queue->session)) {
        return 0;
    }
    *wire = (struct rdisk_wire_resident) {
        .address = htole64((uintptr_t)mr->addr),
        .key = htole32(mr->rkey),
        .reads = htole16((uint16_t)queue->reads),
    };
    return sizeof(*wire);
}

/* ---- Requests ------------------------------------------------------------ */

/* True if the session has registered it. */
static bool is_registered(const struct rdisk_target_session *session,
                          const void *data, uint64_t length)
{
    const struct ibv_mr *mr = session->resident;
    uintptr_t offset = mr ? (uintptr_t)data - (uintptr_t)mr->addr : 0;

    return mr && offset <= mr->length && length <= mr->length - offset;
}

void rdisk_target_stored(struct rdisk_target_request *request, const void *data)
{
    struct rdisk_target_queue *queue = request->queue;

    if (is_registered(queue->session, data, request->length)) {
        queue->slot[request->slot].stored = data;
    } else {
        memcpy(request->data, data, request->length);
    }
}
