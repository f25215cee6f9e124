/* SPDX-License-Identifier: BSD-3-Clause */
/* A session as the server sees it: its conversation and its end. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/target/session.h"

/* How long a client may take to go after BYE. A server that shuts down gives
 * it time to see its last requests answered. */
#define LEAVE_MS        1000
#define SHUTDOWN_MS     5000

/* ---- Life ------------------------------------------------------------- */

static void name_peer(struct rdisk_target_session *session)
{
    const struct sockaddr *address = &session->id->route.addr.dst_addr;
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned int port = 0;

    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;

        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        port = ntohs(in->sin_port);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;

        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
        port = ntohs(in->sin6_port);
    }
    snprintf(session->request.peer, sizeof(session->request.peer), "%s:%u",
             host, port);
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
            "cannot allocate a protection domain: %s", strerror(errno));
    }
    ret = rdisk_control_create(&session->control, target->env, session->id,
                               session->pd, err);
    if (ret < 0) {
        return ret;
    }
    ret = rdisk_target_watch(target, rdisk_qp_fd(&session->control.qp));
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
    struct rdisk_target *target, struct rdma_cm_id *id,
    struct rdisk_error *err)
{
    const struct rdisk_env *env = target->env;
    struct rdisk_target_session *session = calloc(1, sizeof(*session));

    if (!session) {
        rdisk_error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    session->target = target;
    session->id = id;
    session->state = RDISK_TARGET_CONNECTED;
    session->heartbeat = RDISK_NEVER;
    session->deadline = rdisk_now(env) +
                        target->options.handshake_timeout_ms * RDISK_MSEC;
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
    id->context = session;
    session->next = target->sessions;
    target->sessions = session;
    target->session_count++;
    return session;
}

bool rdisk_target_session_over(const struct rdisk_target_session *session)
{
    return session->state == RDISK_TARGET_ENDED && !session->queues;
}

void rdisk_target_session_destroy(struct rdisk_target_session *session)
{
    struct rdisk_target *target = session->target;

    if (session->owner_knows) {
        target->events->close(target->opaque, session->user,
                              session->closed);
    }
    destroy_verbs(session);
    target->memory -= session->memory;
    rdisk_cm_teardowns_add(&target->teardowns, session->id, session->link_suspect);
    free(session);
}

/* ---- The end ---------------------------------------------------------- */

static void break_queues(struct rdisk_target_session *session)
{
    struct rdisk_target_queue *queue;

    for (queue = session->queues; queue; queue = queue->next) {
        rdisk_qp_break(&queue->qp);
    }
}

/* Has any of its queue pairs seen that nothing goes out? */
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

void rdisk_target_session_cut(struct rdisk_target_session *session)
{
    if (session->state == RDISK_TARGET_ENDED) {
        return;
    }
    session->state = RDISK_TARGET_ENDED;
    session->deadline = RDISK_NEVER;
    session->heartbeat = RDISK_NEVER;
    note_link_suspect(session);
    break_queues(session);
    rdisk_qp_break(&session->control.qp);
    /* Else its id's end tells, when it can. */
    if (!session->link_suspect &&
        rdisk_port_active(session->target->env, session->id)) {
        session->target->env->verbs->disconnect(session->id);
    }
}

void rdisk_target_session_fence(struct rdisk_target_session *session)
{
    rdisk_log(session->target->env, RDISK_LOG_INFO,
              "%s: fenced, its client has come back",
              session->request.peer);
    rdisk_target_session_cut(session);
}

void rdisk_target_session_end(struct rdisk_target_session *session,
                              enum rdisk_status status, const char *text)
{
    unsigned int grace = status == RDISK_STATUS_SHUTTING_DOWN ? SHUTDOWN_MS
                                                              : LEAVE_MS;

    if (session->state >= RDISK_TARGET_CLOSING) {
        return;
    }
    rdisk_log(session->target->env, RDISK_LOG_INFO, "%s: ending session: %s",
              session->request.peer, text);
    if (session->client_left ||
        !rdisk_control_refuse(&session->control, RDISK_MSG_BYE, 0, status,
                              text)) {
        rdisk_target_session_cut(session);
        return;
    }
    session->state = RDISK_TARGET_LEAVING;
    session->heartbeat = RDISK_NEVER;
    session->deadline = rdisk_now(session->target->env) + grace * RDISK_MSEC;
    if (status != RDISK_STATUS_SHUTTING_DOWN) {
        break_queues(session);
    }
}

/* ---- Conversation ----------------------------------------------------- */

void rdisk_target_session_reply(struct rdisk_target_session *session,
                                struct rdisk_wire_message *reply, size_t size)
{
    if (!rdisk_control_send(&session->control, reply, size)) {
        rdisk_target_session_cut(session);
    }
}

void rdisk_target_session_refuse(struct rdisk_target_session *session,
                                 uint32_t sequence,
                                 enum rdisk_message_type type,
                                 enum rdisk_status status, const char *text)
{
    rdisk_log(session->target->env, RDISK_LOG_WARNING, "%s: refused: %s",
              session->request.peer, text);
    if (!rdisk_control_refuse(&session->control, type, sequence, status,
                              text)) {
        rdisk_target_session_cut(session);
        return;
    }
    rdisk_target_session_leave(session);
}

void rdisk_target_session_leave(struct rdisk_target_session *session)
{
    session->state = RDISK_TARGET_LEAVING;
    session->deadline = rdisk_now(session->target->env) +
                        LEAVE_MS * RDISK_MSEC;
}

static void hello(struct rdisk_target_session *session,
                  const struct rdisk_wire_hello *wire)
{
    uint64_t unknown = le64toh(wire->required) & ~RDISK_FEATURES_KNOWN;
    uint64_t features = le64toh(wire->features) & RDISK_FEATURES_KNOWN;
    struct rdisk_wire_hello reply = {
        .message.type = htole16(RDISK_MSG_HELLO_REPLY),
        .message.sequence = wire->message.sequence,
        .features = htole64(features),
    };

    if (unknown) {
        char text[128];

        snprintf(text, sizeof(text), "the client needs features 0x%llx, "
                 "which this server does not have",
                 (unsigned long long)unknown);
        rdisk_target_session_refuse(session, le32toh(wire->message.sequence),
                                    RDISK_MSG_HELLO_REPLY,
                                    RDISK_STATUS_UNSUPPORTED, text);
        return;
    }
    session->features = features;
    session->auth.offered = le64toh(wire->features);
    session->auth.required = le64toh(wire->required);
    session->auth.chosen = features;
    session->state = RDISK_TARGET_GREETED;
    if (session->target->options.authenticate) {
        session->state = RDISK_TARGET_DEMANDING;
        reply.auth = htole32(RDISK_AUTH_HMAC_SHA256);
    }
    rdisk_target_session_reply(session, &reply.message, sizeof(reply));
}

static bool expected(enum rdisk_target_state state, unsigned int type)
{
    switch (type) {
    case RDISK_MSG_HELLO:
        return state == RDISK_TARGET_CONNECTED;
    case RDISK_MSG_AUTH:
        return state == RDISK_TARGET_DEMANDING;
    case RDISK_MSG_AUTH_PROOF:
        return state == RDISK_TARGET_CHALLENGED;
    case RDISK_MSG_OPEN:
    case RDISK_MSG_CREATE:
        return state == RDISK_TARGET_GREETED;
    case RDISK_MSG_PING:
    case RDISK_MSG_PONG:
    case RDISK_MSG_CLOSE:
    case RDISK_MSG_RESIZE:
    case RDISK_MSG_STAT:
        return state == RDISK_TARGET_OPEN;
    default:
        return false;
    }
}

/*
 * The volume is given back before the answer, so that a client that has closed
 * it can open it again at once. Answered by _drained().
 */
static void close_volume(struct rdisk_target_session *session,
                         const struct rdisk_wire_message *message)
{
    session->state = RDISK_TARGET_CLOSING;
    session->closed = true;
    session->close_sequence = message->sequence;
    session->heartbeat = RDISK_NEVER;
    session->deadline = rdisk_now(session->target->env) +
                        LEAVE_MS * RDISK_MSEC;
    break_queues(session);
    rdisk_target_session_drained(session);
}

void rdisk_target_session_drained(struct rdisk_target_session *session)
{
    struct rdisk_target *target = session->target;
    struct rdisk_wire_message reply = {
        .type = htole16(RDISK_MSG_CLOSE_REPLY),
        .sequence = session->close_sequence,
    };

    if (session->state != RDISK_TARGET_CLOSING || session->queues) {
        return;
    }
    session->owner_knows = false;
    target->events->close(target->opaque, session->user, true);
    session->state = RDISK_TARGET_LEAVING;
    session->deadline = rdisk_now(target->env) + LEAVE_MS * RDISK_MSEC;
    rdisk_target_session_reply(session, &reply, sizeof(reply));
}

static void receive(void *opaque, enum rdisk_status check,
                    const struct rdisk_wire_message *message,
                    const struct rdisk_error *err)
{
    struct rdisk_target_session *session = opaque;
    unsigned int type = le16toh(message->type);

    if (session->state >= RDISK_TARGET_CLOSING ||
        session->state == RDISK_TARGET_DENYING) {
        return;
    }
    session->heard = rdisk_now(session->target->env);
    session->alive = session->heard;
    if (check != RDISK_STATUS_OK) {
        /* An OPEN with a bad name or flag deserves its answer as such. */
        if (type == RDISK_MSG_OPEN && check != RDISK_STATUS_BAD_MESSAGE &&
            session->state == RDISK_TARGET_GREETED) {
            rdisk_target_session_refuse(session, le32toh(message->sequence),
                                        RDISK_MSG_OPEN_REPLY, check,
                                        err->text);
        } else {
            rdisk_target_session_end(session, check, err->text);
        }
        return;
    }
    if (!expected(session->state, type)) {
        rdisk_target_session_end(session, RDISK_STATUS_BAD_MESSAGE,
                                 "a message came out of turn");
        return;
    }
    switch (type) {
    case RDISK_MSG_HELLO:
        hello(session, (const struct rdisk_wire_hello *)message);
        break;
    case RDISK_MSG_AUTH:
        rdisk_target_session_auth(session,
                                  (const struct rdisk_wire_auth *)message);
        break;
    case RDISK_MSG_AUTH_PROOF:
        rdisk_target_session_proof(
            session, (const struct rdisk_wire_auth_proof *)message);
        break;
    case RDISK_MSG_OPEN:
        rdisk_target_session_open(session,
                                  (const struct rdisk_wire_open *)message);
        break;
    case RDISK_MSG_PING: {
        struct rdisk_wire_ping pong = *(const struct rdisk_wire_ping *)message;

        pong.message.type = htole16(RDISK_MSG_PONG);
        rdisk_target_session_reply(session, &pong.message, sizeof(pong));
        break;
    }
    case RDISK_MSG_CLOSE:
        close_volume(session, message);
        break;
    case RDISK_MSG_CREATE:
        rdisk_target_session_asked_create(
            session, (const struct rdisk_wire_create *)message);
        break;
    case RDISK_MSG_RESIZE:
        rdisk_target_session_asked_resize(
            session, (const struct rdisk_wire_resize *)message);
        break;
    case RDISK_MSG_STAT:
        rdisk_target_session_asked_stat(session, message);
        break;
    default:
        break;
    }
}

/* ---- Events and time -------------------------------------------------- */

uint64_t rdisk_target_session_deadline(
    const struct rdisk_target_session *session)
{
    uint64_t liveness = rdisk_target_session_liveness_deadline(session);
    uint64_t calls = rdisk_target_session_calls_deadline(session);
    uint64_t deadline = session->deadline < calls ? session->deadline : calls;

    return deadline < liveness ? deadline : liveness;
}

void rdisk_target_session_process(struct rdisk_target_session *session,
                                  uint64_t now)
{
    rdisk_control_process(&session->control, receive, session);
    rdisk_target_session_tell(session);
    if (session->state == RDISK_TARGET_ENDED) {
        return;
    }
    if (session->state == RDISK_TARGET_DENYING &&
        now < session->deadline) {
        return;     /* whether the client is still there or not */
    }
    if (atomic_load(&session->control.qp.broken)) {
        rdisk_log(session->target->env, RDISK_LOG_WARNING,
                  "%s: the control connection broke",
                  session->request.peer);
        rdisk_target_session_cut(session);
        return;
    }
    rdisk_target_session_probe(session, now);
    if (rdisk_target_session_silent(session, now)) {
        rdisk_target_session_cut(session);
        return;
    }
    rdisk_target_session_calls_late(session, now);
    if (now < rdisk_target_session_deadline(session)) {
        return;
    }
    switch (session->state) {
    case RDISK_TARGET_DENYING:
        rdisk_target_session_deny(session);
        return;
    case RDISK_TARGET_OPENING:
        rdisk_target_session_open_late(session);
        return;
    case RDISK_TARGET_CREATING:
        rdisk_target_session_create_late(session);
        return;
    case RDISK_TARGET_OPEN:
        rdisk_log(session->target->env, RDISK_LOG_WARNING,
                  "%s: no queue within the handshake time-out of %u ms",
                  session->request.peer,
                  session->target->options.handshake_timeout_ms);
        break;
    case RDISK_TARGET_CONNECTED:
    case RDISK_TARGET_DEMANDING:
    case RDISK_TARGET_CHALLENGED:
    case RDISK_TARGET_GREETED:
        rdisk_log(session->target->env, RDISK_LOG_WARNING,
                  "%s: no OPEN within the handshake time-out of %u ms",
                  session->request.peer,
                  session->target->options.handshake_timeout_ms);
        break;
    default:
        break;
    }
    rdisk_target_session_cut(session);
}
