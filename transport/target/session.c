/* SPDX-License-Identifier: BSD-3-Clause */
/* A session on the server: creation, end, and the messages that it sends. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/target/session.h"
#include "transport/target/queue.h"
#include "transport/verbs/address.h"

/* ---- Life ------------------------------------------------------------- */

static void name_peer(struct rdisk_target_session *session)
{
    rdisk_address_text(&session->id->route.addr.dst_addr, session->request.peer,
                       sizeof(session->request.peer));
}

static int create_verbs(struct rdisk_target_session *session,
                        struct rdisk_error *err)
{
    struct rdisk_target *target = session->target;
    const struct rdisk_verbs *verbs = target->env->verbs;
    int ret;

    ret = rdisk_device_query(verbs, session->id->verbs, &session->limits, err);
    if (ret < 0) {
        return ret;
    }
    session->pd = verbs->alloc_pd(session->id->verbs);
    if (!session->pd) {
        return rdisk_error_set(err, -errno,
                               "cannot allocate a protection domain: %s",
                               strerror(errno));
    }
    ret = rdisk_control_create(&session->control, target->env, session->id,
                               session->pd, err);
    if (ret < 0) {
        return ret;
    }
    ret = rdisk_target_watch(target, rdisk_qp_fd(&session->control.qp),
                             session);
    if (ret < 0) {
        return rdisk_error_set(err, ret, "cannot watch for messages: %s",
                               strerror(-ret));
    }
    return 0;
}

/* All but the id, which is the caller's until the session is complete. */
static void destroy_verbs(struct rdisk_target_session *session)
{
    const struct rdisk_verbs *verbs = session->target->env->verbs;

    rdisk_control_destroy(&session->control);
    if (session->pd) {
        verbs->dealloc_pd(session->pd);
    }
}

struct rdisk_target_session *rdisk_target_session_create(
    struct rdisk_target *target, struct rdma_cm_id *id, struct rdisk_error *err)
{
    const struct rdisk_env *env = target->env;
    struct rdisk_target_session *session = calloc(1, sizeof(*session));

    if (!session) {
        rdisk_error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    session->target = target;
    session->id = id;
    rdisk_target_session_begin(session);
    name_peer(session);
    do {
        env->random(env->opaque, &session->session_id,
                    sizeof(session->session_id));
    } while (!session->session_id);
    env->random(env->opaque, session->token, sizeof(session->token));
    if (create_verbs(session, err) < 0) {
        destroy_verbs(session);
        free(session);
        return NULL;
    }
    session->readable = true; /* what comes before the first turn */
    id->context = session;
    *target->sessions_end = session;
    target->sessions_end = &session->next;
    target->session_count++;
    return session;
}

bool rdisk_target_session_over(const struct rdisk_target_session *session)
{
    return session->state == RDISK_TARGET_ENDED && !session->queues &&
           !session->held;
}

void rdisk_target_session_destroy(struct rdisk_target_session *session)
{
    struct rdisk_target *target = session->target;

    /* With close its memory is the owner's. */
    rdisk_target_session_deregister(session);
    if (session->owner_knows) {
        target->events->close(target->opaque, session->user, session->closed);
    }
    destroy_verbs(session);
    target->memory -= session->memory;
    target->share_due = true;
    rdisk_cm_teardowns_add(&target->teardowns, session->id,
                           session->link_suspect);
    free(session);
}

/* ---- Messages ---------------------------------------------------------- */

static enum rdisk_target_event sent(struct rdisk_target_session *session,
                                    bool sent)
{
    if (!sent) {
        rdisk_log(session->target->env, RDISK_LOG_WARNING,
                  "%s: cannot send a control message", session->request.peer);
    }
    return sent ? RDISK_TARGET_NO_EVENT : RDISK_TARGET_ON_CUT;
}

enum rdisk_target_event rdisk_target_session_reply(
    struct rdisk_target_session *session, struct rdisk_wire_message *reply,
    size_t size)
{
    return sent(session, rdisk_control_send(&session->control, reply, size));
}

enum rdisk_target_event rdisk_target_session_refuse(
    struct rdisk_target_session *session, enum rdisk_message_type type,
    uint32_t sequence, enum rdisk_status status, const char *text)
{
    rdisk_log(session->target->env, RDISK_LOG_WARNING, "%s: refused: %s",
              session->request.peer, text);
    return sent(session, rdisk_control_refuse(&session->control, type, sequence,
                                              status, text));
}

/* ---- The end ---------------------------------------------------------- */

enum rdisk_target_event rdisk_target_session_refused(
    struct rdisk_target_session *session, enum rdisk_message_type type,
    uint32_t sequence, enum rdisk_status status, const char *text)
{
    struct rdisk_target_end *end = &session->end;

    assert(status != RDISK_STATUS_OK && status < RDISK_STATUS_COUNT);
    end->type = type;
    end->sequence = sequence;
    end->status = status;
    snprintf(end->text, sizeof(end->text), "%s", text);
    return RDISK_TARGET_ON_REFUSED;
}

enum rdisk_target_event rdisk_target_session_violated(
    struct rdisk_target_session *session, enum rdisk_status status,
    const char *text)
{
    struct rdisk_target_totals *totals = &session->target->totals;

    totals->violations += status == RDISK_STATUS_BAD_MESSAGE;
    totals->broken_queues += status == RDISK_STATUS_IO_ERROR;
    rdisk_target_session_refused(session, RDISK_MSG_BYE, 0, status, text);
    return status == RDISK_STATUS_SHUTTING_DOWN ? RDISK_TARGET_ON_SHUTDOWN
                                                : RDISK_TARGET_ON_END;
}

enum rdisk_target_event rdisk_target_session_send_end(
    struct rdisk_target_session *session)
{
    const struct rdisk_target_end *end = &session->end;

    return sent(session,
                rdisk_control_refuse(&session->control, end->type,
                                     end->sequence, end->status, end->text));
}

void rdisk_target_session_break_queues(struct rdisk_target_session *session)
{
    struct rdisk_target_queue *queue;

    for (queue = session->queues; queue; queue = queue->next) {
        rdisk_qp_break(&queue->qp);
    }
}

/* True if one of its queue pairs found this side's link suspect. */
static void note_link_suspect(struct rdisk_target_session *session)
{
    const struct rdisk_target_queue *queue;

    if (rdisk_qp_link_suspect(&session->control.qp)) {
        session->link_suspect = true;
    }
    for (queue = session->queues; queue; queue = queue->next) {
        if (rdisk_qp_link_suspect(&queue->qp)) {
            session->link_suspect = true;
        }
    }
}

void rdisk_target_session_break(struct rdisk_target_session *session)
{
    note_link_suspect(session);
    rdisk_target_session_break_queues(session);
    rdisk_qp_break(&session->control.qp);
    /* With its device gone it would be readable until the session is freed,
     * which waits for the storage. */
    rdisk_target_unwatch(session->target, rdisk_qp_fd(&session->control.qp));
    /* Else the end of its id reports it, when it can. */
    if (!session->link_suspect &&
        rdisk_port_active(session->target->env, session->id)) {
        session->target->env->verbs->disconnect(session->id);
    }
}

/* ---- The owner --------------------------------------------------------- */

void rdisk_target_session_fence(struct rdisk_target_session *session)
{
    RDISK_USE(session->target);

    rdisk_log(session->target->env, RDISK_LOG_INFO,
              "%s: fenced, its client has reconnected", session->request.peer);
    rdisk_target_session_step(session, RDISK_TARGET_ON_CUT);
}

bool rdisk_target_session_move(struct rdisk_target_session *session,
                               const char *host, uint16_t port)
{
    size_t length = strlen(host);
    struct rdisk_wire_move move = {
        .message.type = htole16(RDISK_MSG_MOVE),
        .port = htole16(port),
        .host_length = htole16((uint16_t)length),
    };

    RDISK_USE(session->target);
    assert(length > 0 && length < sizeof(move.host));
    if (!rdisk_target_session_joinable(session) || !session->request.servers ||
        !(session->features & RDISK_FEATURE_MOVE)) {
        return false;
    }
    memcpy(move.host, host, length);
    /* Without it the client goes on at the next server of its list. */
    return rdisk_control_send(&session->control, &move.message, sizeof(move));
}

void rdisk_target_session_end(struct rdisk_target_session *session,
                              enum rdisk_status status, const char *text)
{
    RDISK_USE(session->target);

    rdisk_target_session_step(session,
                              rdisk_target_session_violated(session, status,
                                                            text));
}

/* A CLOSE that failed gets no answer, so that the client reconnects and
 * sends it again. */
enum rdisk_target_event rdisk_target_session_release_event(
    struct rdisk_target_session *session, enum rdisk_status status,
    const struct rdisk_error *err)
{
    if (status == RDISK_STATUS_OK) {
        return RDISK_TARGET_ON_RELEASED;
    }
    rdisk_log(session->target->env, RDISK_LOG_WARNING,
              "%s: cannot close volume '%s': %s", session->request.peer,
              session->request.volume, err ? err->text : "");
    return RDISK_TARGET_ON_CUT;
}

void rdisk_target_session_released(struct rdisk_target_session *session,
                                   enum rdisk_status status,
                                   const struct rdisk_error *err)
{
    assert(status < RDISK_STATUS_COUNT && session->owner_knows);
    session->owner_knows = false;
    if (session->state == RDISK_TARGET_RELEASING) {
        rdisk_target_session_step(
            session, rdisk_target_session_release_event(session, status, err));
    }
}
