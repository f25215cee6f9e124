/* SPDX-License-Identifier: BSD-3-Clause */
/* OPEN: what a client wants, what its owner says to that, what it is granted. */
#include <errno.h>
#include <string.h>

#include "transport/target/session.h"

/* Of a queue: with fewer, better none. */
#define FEWEST_SLOTS    4u

static unsigned int least(unsigned int a, unsigned int b)
{
    return a < b ? a : b;
}

/*
 * The slots of all queues, fewer than wanted if the server's memory is nearly
 * used up: a client does with few what it does with many, only more slowly.
 */
static int grant_slots(struct rdisk_target_session *session,
                       struct rdisk_error *err)
{
    struct rdisk_target *target = session->target;
    uint64_t left = target->options.max_memory - target->memory;
    uint64_t one = session->granted_queues *
                   rdisk_target_queue_size(1, session->granted_slot_size);
    unsigned int wanted = session->granted_slots;
    unsigned int fewest = least(wanted, FEWEST_SLOTS);

    if (left < fewest * one) {
        return rdisk_error_set(err, -ENOBUFS,
            "%llu bytes of slots wanted, at least %llu, %llu of the server's "
            "%llu are in use", (unsigned long long)(wanted * one),
            (unsigned long long)(fewest * one),
            (unsigned long long)target->memory,
            (unsigned long long)target->options.max_memory);
    }
    if (left < wanted * one) {
        session->granted_slots = left / one;
        rdisk_log(target->env, RDISK_LOG_WARNING,
                  "%s: gets %u slots per queue, not %u: %llu bytes of "
                  "max-memory are left", session->request.peer,
                  session->granted_slots, wanted, (unsigned long long)left);
    }
    session->memory = session->granted_slots * one;
    target->memory += session->memory;
    return 0;
}

static int grant(struct rdisk_target_session *session,
                 const struct rdisk_wire_open *wire, struct rdisk_error *err)
{
    const struct rdisk_target_options *options = &session->target->options;
    uint32_t heartbeat = le32toh(wire->heartbeat_ms);
    int ret;

    session->granted_queues = least(le16toh(wire->queues),
                                    options->max_queues);
    session->granted_slots = least(le16toh(wire->slots), options->max_slots);
    session->granted_slot_size = least(le32toh(wire->slot_size),
                                       options->max_slot_size);
    ret = grant_slots(session, err);
    if (ret < 0) {
        return ret;
    }
    session->state = RDISK_TARGET_OPEN;
    /* What it was granted is kept for it, so it has to come for it. */
    session->deadline = rdisk_now(session->target->env) +
                        options->handshake_timeout_ms * RDISK_MSEC;
    session->heartbeat = heartbeat ? heartbeat * RDISK_MSEC : RDISK_NEVER;
    return 0;
}

static void reply_open(struct rdisk_target_session *session,
                       const struct rdisk_wire_open *wire)
{
    const struct rdisk_open_grant *granted = &session->grant;
    uint32_t flags =
        (session->request.read_only ? RDISK_VOLUME_READ_ONLY : 0) |
        (granted->rotational ? RDISK_VOLUME_ROTATIONAL : 0) |
        (rdisk_target_session_has(session, RDISK_FEATURE_DISCARD,
                                  granted->discard)
         ? RDISK_VOLUME_DISCARD : 0) |
        (rdisk_target_session_has(session, RDISK_FEATURE_ZEROES,
                                  granted->zeroes)
         ? RDISK_VOLUME_ZEROES : 0) |
        (rdisk_target_session_has(session, RDISK_FEATURE_EXTENTS,
                                  granted->extents)
         ? RDISK_VOLUME_EXTENTS : 0) |
        (rdisk_target_session_has(session, RDISK_FEATURE_COPY, granted->copy)
         ? RDISK_VOLUME_COPY : 0) |
        (rdisk_target_session_has(session, RDISK_FEATURE_RESIZE,
                                  granted->resize)
         ? RDISK_VOLUME_RESIZE : 0);
    struct rdisk_wire_open_reply reply = {
        .message.type = htole16(RDISK_MSG_OPEN_REPLY),
        .message.sequence = wire->message.sequence,
        .session = htole64(session->session_id),
        .epoch = htole64(session->request.epoch),
        .size = htole64(granted->size),
        .block_size = htole32(granted->block_size),
        .optimal_size = htole32(granted->optimal_size),
        .volume_flags = htole32(flags),
        .queues = htole16((uint16_t)session->granted_queues),
        .slots = htole16((uint16_t)session->granted_slots),
        .slot_size = htole32(session->granted_slot_size),
        .generation = htole64(granted->generation),
    };

    memcpy(reply.token, session->token, sizeof(reply.token));
    memcpy(reply.instance, session->target->instance, sizeof(reply.instance));
    memcpy(reply.identity, granted->identity, sizeof(reply.identity));
    memcpy(reply.cache, granted->cache, sizeof(reply.cache));
    session->control.epoch = session->request.epoch;
    rdisk_target_session_reply(session, &reply.message, sizeof(reply));
}

void rdisk_target_session_open(struct rdisk_target_session *session,
                               const struct rdisk_wire_open *wire)
{
    struct rdisk_open_request *request = &session->request;

    session->requested = *wire;
    memcpy(request->volume, wire->name, le16toh(wire->name_length));
    memcpy(request->client, wire->client, sizeof(request->client));
    request->epoch = le64toh(wire->epoch);
    request->generation = le64toh(wire->generation);
    request->read_only = le32toh(wire->flags) & RDISK_OPEN_READ_ONLY;
    request->shared = le32toh(wire->flags) & RDISK_OPEN_SHARED;
    session->state = RDISK_TARGET_OPENING;
    session->deadline = rdisk_now(session->target->env) +
                        session->target->options.open_timeout_ms * RDISK_MSEC;
    rdisk_target_session_retry(session);
}

static void refuse(struct rdisk_target_session *session,
                   enum rdisk_status status, const char *text)
{
    rdisk_target_session_refuse(session,
                                le32toh(session->requested.message.sequence),
                                RDISK_MSG_OPEN_REPLY, status, text);
}

void rdisk_target_session_open_late(struct rdisk_target_session *session)
{
    const struct rdisk_error *why = &session->why;
    struct rdisk_error err;

    /* Who comes for the first time has nothing to come back to. */
    session->closed = !session->request.generation;
    rdisk_error_set(&err, -ETIMEDOUT, "volume '%s' could not be opened within "
                    "%g seconds: %s", session->request.volume,
                    session->target->options.open_timeout_ms / 1000.0,
                    why->code ? why->text : "the server is not ready");
    refuse(session, RDISK_STATUS_BUSY, err.text);
}

void rdisk_target_session_retry(struct rdisk_target_session *session)
{
    struct rdisk_target *target = session->target;
    struct rdisk_open_request *request = &session->request;
    struct rdisk_error err = { 0 };
    enum rdisk_status status;

    if (session->state != RDISK_TARGET_OPENING) {
        return;
    }
    status = target->events->open(target->opaque, session, request,
                                  &session->grant, &session->user, &err);
    session->owner_knows = (status == RDISK_STATUS_OK ||
                            status == RDISK_LATER) && session->user;
    if (status == RDISK_LATER) {
        session->why = err;
        return;
    }
    if (status == RDISK_STATUS_OK) {
        session->owner_knows = true;
        if (grant(session, &session->requested, &err) < 0) {
            status = RDISK_STATUS_NO_RESOURCES;
            /* Who comes for the first time has nothing to come back to. */
            session->closed = !request->generation;
        }
    }
    if (status != RDISK_STATUS_OK) {
        refuse(session, status, err.text);
        return;
    }
    atomic_store(&session->size, session->grant.size);
    session->told_size = session->grant.size;
    request->read_only = request->read_only || session->grant.read_only;
    rdisk_log(target->env, RDISK_LOG_INFO, "%s: opened %s%s, %u queues",
              request->peer, request->volume,
              request->read_only ? " read-only" : "",
              session->granted_queues);
    reply_open(session, &session->requested);
}
