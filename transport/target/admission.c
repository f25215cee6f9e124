/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Control connections that have not been accepted yet, in the order of their
 * arrival.
 *
 * If a server accepted all connections at once, each handshake would take as
 * long as all of them, and with many each would come near its time limit. So
 * what a handshake that has begun needs (answers to its messages, its data
 * queues) is done first, and a connection is accepted in a turn in which none
 * needs anything. A client that keeps the server waiting delays no other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/target/session.h"
#include "transport/verbs/conn_param.h"

enum rdisk_status rdisk_target_admission_add(struct rdisk_target *target,
                                             struct rdma_cm_id *id,
                                             struct rdisk_error *err)
{
    struct rdisk_target_admission *admission = &target->admission;
    struct rdisk_target_pending *pending;

    if (target->session_count + admission->count >=
        target->options.max_sessions) {
        rdisk_error_set(err, -ENOBUFS,
                        "all %u sessions of this server are "
                        "in use",
                        target->options.max_sessions);
        return RDISK_STATUS_NO_RESOURCES;
    }
    pending = calloc(1, sizeof(*pending));
    if (!pending) {
        rdisk_error_set(err, -ENOMEM, "out of memory");
        return RDISK_STATUS_NO_RESOURCES;
    }
    pending->id = id;
    *admission->end = pending;
    admission->end = &pending->next;
    admission->count++;
    return RDISK_STATUS_OK;
}

static void unlink_pending(struct rdisk_target_admission *admission,
                           struct rdisk_target_pending **link)
{
    struct rdisk_target_pending *pending = *link;

    *link = pending->next;
    if (admission->end == &pending->next) {
        admission->end = link;
    }
    admission->count--;
    free(pending);
}

bool rdisk_target_admission_leave(struct rdisk_target *target,
                                  const struct rdma_cm_id *id)
{
    struct rdisk_target_pending **link = &target->admission.first;

    while (*link && (*link)->id != id) {
        link = &(*link)->next;
    }
    if (!*link) {
        return false;
    }
    unlink_pending(&target->admission, link);
    return true;
}

static enum rdisk_status begin_session(struct rdisk_target *target,
                                       struct rdma_cm_id *id,
                                       struct rdisk_error *err)
{
    struct rdisk_wire_accept accept = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
    };
    struct rdma_conn_param param = rdisk_conn_param(&accept, sizeof(accept));
    struct rdisk_target_session *session;
    int ret;

    if (target->stopping) {
        rdisk_error_set(err, -ESHUTDOWN, "the server is shutting down");
        return RDISK_STATUS_SHUTTING_DOWN;
    }
    session = rdisk_target_session_create(target, id, err);
    if (!session) {
        return RDISK_STATUS_NO_RESOURCES;
    }
    target->env->verbs->set_ack_timeout(id, RDISK_ACK_TIMEOUT);
    ret = target->env->verbs->accept(id, &param);
    if (ret < 0) {
        /* The id is destroyed with the session; there is no owner to notify. */
        rdisk_log(target->env, RDISK_LOG_WARNING,
                  "accepting a connection failed: %s", strerror(-ret));
        rdisk_target_session_step(session, RDISK_TARGET_ON_CUT);
    }
    return RDISK_STATUS_OK;
}

void rdisk_target_admission_next(struct rdisk_target *target)
{
    struct rdisk_target_admission *admission = &target->admission;
    struct rdisk_error err = { 0 };
    struct rdma_cm_id *id;
    enum rdisk_status status;

    if (!admission->first) {
        return;
    }
    id = admission->first->id;
    unlink_pending(admission, &admission->first);
    if (rdisk_port_active(target->env, id)) {
        status = begin_session(target, id, &err);
        if (status == RDISK_STATUS_OK) {
            return;
        }
        rdisk_target_reject(target, id, status, err.text);
    } /* else it cannot be answered, and asks again */
    rdisk_cm_teardowns_add(&target->teardowns, id, false);
}

void rdisk_target_admission_end(struct rdisk_target *target)
{
    struct rdisk_target_admission *admission = &target->admission;

    while (admission->first) {
        struct rdma_cm_id *id = admission->first->id;

        unlink_pending(admission, &admission->first);
        rdisk_cm_teardowns_add(&target->teardowns, id, false);
    }
}
