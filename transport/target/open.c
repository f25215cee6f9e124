/* SPDX-License-Identifier: BSD-3-Clause */
/* OPEN: the request, the owner's decision, and the grant. */
#include <errno.h>
#include <string.h>

#include "transport/target/queue.h"
#include "transport/target/session.h"

/* Of a queue: with fewer, better none. */
#define FEWEST_SLOTS 4u

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
    uint64_t most = target->options.max_memory;
    /* The limit may have been lowered below what is in use. */
    uint64_t left = most > target->memory ? most - target->memory : 0;
    uint64_t own;
    uint64_t one = session->granted_queues *
                   rdisk_target_slots_size(1, session->granted_slot_size);
    unsigned int wanted = session->granted_slots;
    unsigned int fewest = least(wanted, FEWEST_SLOTS);

    if (rdisk_target_quota_check(session, fewest * one, &own, err) < 0) {
        return err ? err->code : -ENOBUFS;
    }
    if (left < fewest * one) {
        return rdisk_error_set(err, -ENOBUFS,
                               "%llu bytes of slots requested, at least %llu, "
                               "%llu of the server's %llu are in use",
                               (unsigned long long)(wanted * one),
                               (unsigned long long)(fewest * one),
                               (unsigned long long)target->memory,
                               (unsigned long long)most);
    }
    left = own < left ? own : left;
    if (left < wanted * one) {
        session->granted_slots = left / one;
        rdisk_log(target->env, RDISK_LOG_WARNING,
                  "%s: granted %u slots per queue, not %u: %llu bytes of %s "
                  "are left",
                  session->request.peer, session->granted_slots, wanted,
                  (unsigned long long)left,
                  own == left ? "its client's max-memory" : "max-memory");
    }
    session->memory = session->granted_slots * one;
    target->memory += session->memory;
    return 0;
}

/*
 * What its queues begin with. Of what is beyond that, there has to be enough
 * for one slot at least, of any session.
 */
static int grant_base(struct rdisk_target_session *session,
                      struct rdisk_error *err)
{
    struct rdisk_target *target = session->target;
    uint64_t most = target->options.max_memory;
    uint64_t own, need;
    unsigned int slots;
    uint32_t size;

    rdisk_target_base(session, &slots, &size);
    need = session->granted_queues * rdisk_target_slots_size(slots, size);
    if (rdisk_target_quota_check(session, need, &own, err) < 0) {
        return err ? err->code : -ENOBUFS;
    }
    if (target->memory + need > most ||
        target->memory - target->growth + need +
                rdisk_target_slots_size(1, session->granted_slot_size) >
            most) {
        return rdisk_error_set(err, -ENOBUFS,
                               "%llu bytes of slots requested, and memory for "
                               "one of %u bytes, %llu of the server's %llu are "
                               "in use",
                               (unsigned long long)need,
                               session->granted_slot_size,
                               (unsigned long long)target->memory,
                               (unsigned long long)most);
    }
    session->memory = need;
    target->memory += need;
    return 0;
}

int rdisk_target_session_reserve(struct rdisk_target_session *session,
                                 struct rdisk_error *err)
{
    const struct rdisk_wire_open *wire = &session->requested;
    const struct rdisk_target_options *options;

    if (session->memory) {
        return 0;
    }
    RDISK_USE(session->target);
    options = &session->target->options;
    session->granted_queues = least(le16toh(wire->queues), options->max_queues);
    session->granted_slots = least(le16toh(wire->slots), options->max_slots);
    session->granted_slot_size = least(le32toh(wire->slot_size),
                                       options->max_slot_size);
    return session->features & RDISK_FEATURE_SLOTS ? grant_base(session, err)
                                                   : grant_slots(session, err);
}

static void release_memory(struct rdisk_target_session *session)
{
    session->target->memory -= session->memory;
    session->target->share_due = true;
    session->memory = 0;
}

/* Of the volume, as far as the features were chosen. */
static uint32_t volume_flags(const struct rdisk_target_session *session)
{
    const struct rdisk_open_grant *granted = &session->grant;
    const struct {
        uint32_t flag;
        uint64_t feature;
        bool has;
    } flags[] = {
        { RDISK_VOLUME_DISCARD, RDISK_FEATURE_DISCARD, granted->discard },
        { RDISK_VOLUME_ZEROES, RDISK_FEATURE_ZEROES, granted->zeroes },
        { RDISK_VOLUME_EXTENTS, RDISK_FEATURE_EXTENTS, granted->extents },
        { RDISK_VOLUME_COPY, RDISK_FEATURE_COPY, granted->copy },
        { RDISK_VOLUME_RESIZE, RDISK_FEATURE_RESIZE, granted->resize },
        { RDISK_VOLUME_RESIDENT, RDISK_FEATURE_RESIDENT,
          rdisk_target_session_one_sided(session) },
    };
    uint32_t sum = (session->request.read_only ? RDISK_VOLUME_READ_ONLY : 0) |
                   (granted->rotational ? RDISK_VOLUME_ROTATIONAL : 0);

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (rdisk_target_session_has(session, flags[i].feature, flags[i].has)) {
            sum |= flags[i].flag;
        }
    }
    return sum;
}

static enum rdisk_target_event reply_open(struct rdisk_target_session *session)
{
    const struct rdisk_open_grant *granted = &session->grant;
    struct rdisk_wire_open_reply reply = {
        .message.type = htole16(RDISK_MSG_OPEN_REPLY),
        .message.sequence = session->requested.message.sequence,
        .session = htole64(session->session_id),
        .epoch = htole64(session->request.epoch),
        .size = htole64(granted->size),
        .block_size = htole32(granted->block_size),
        .optimal_size = htole32(granted->optimal_size),
        .volume_flags = htole32(volume_flags(session)),
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
    return rdisk_target_session_reply(session, &reply.message, sizeof(reply));
}

enum rdisk_target_event rdisk_target_session_open(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_open *wire = message;
    struct rdisk_open_request *request = &session->request;

    session->requested = *wire;
    memcpy(request->volume, wire->name, le16toh(wire->name_length));
    memcpy(request->client, wire->client, sizeof(request->client));
    request->epoch = le64toh(wire->epoch);
    request->generation = le64toh(wire->generation);
    request->read_only = le32toh(wire->flags) & RDISK_OPEN_READ_ONLY;
    request->shared = le32toh(wire->flags) & RDISK_OPEN_SHARED;
    request->servers = le32toh(wire->flags) & RDISK_OPEN_SERVERS;
    return RDISK_TARGET_ON_OPEN;
}

static enum rdisk_target_event refuse(struct rdisk_target_session *session,
                                      enum rdisk_status status,
                                      const char *text)
{
    /* A client that opens for the first time has nothing to reconnect to. */
    session->closed = !session->request.generation;
    return rdisk_target_session_refused(
        session, RDISK_MSG_OPEN_REPLY,
        le32toh(session->requested.message.sequence), status, text);
}

enum rdisk_target_event rdisk_target_session_open_late(
    struct rdisk_target_session *session)
{
    const struct rdisk_error *why = &session->why;
    struct rdisk_error err;

    rdisk_error_set(&err, -ETIMEDOUT,
                    "volume '%s' could not be opened within "
                    "%g seconds: %s",
                    session->request.volume,
                    session->target->options.open_timeout_ms / 1000.0,
                    why->code ? why->text : "the server is not ready");
    return refuse(session, RDISK_STATUS_BUSY, err.text);
}

enum rdisk_target_event rdisk_target_session_ask(
    struct rdisk_target_session *session)
{
    struct rdisk_target *target = session->target;
    struct rdisk_error err = { 0 };
    enum rdisk_status status;

    status = target->events->open(target->opaque, session, &session->request,
                                  &session->grant, &session->user, &err);
    session->owner_knows = status == RDISK_STATUS_OK ||
                           (status == RDISK_LATER && session->user);
    if (status == RDISK_LATER) {
        session->why = err;
        return RDISK_TARGET_NO_EVENT;
    }
    /* Of an owner that has nothing to lose. */
    if (status == RDISK_STATUS_OK &&
        rdisk_target_session_reserve(session, &err) < 0) {
        status = RDISK_STATUS_NO_RESOURCES;
    }
    if (status == RDISK_STATUS_OK) {
        return RDISK_TARGET_ON_GRANTED;
    }
    release_memory(session);
    return refuse(session, status, err.text);
}

enum rdisk_target_event rdisk_target_session_opened(
    struct rdisk_target_session *session)
{
    struct rdisk_open_request *request = &session->request;

    atomic_store(&session->size, session->grant.size);
    session->reported_size = session->grant.size;
    request->read_only = request->read_only || session->grant.read_only;
    rdisk_target_liveness_begin(session,
                                le32toh(session->requested.heartbeat_ms));
    rdisk_log(session->target->env, RDISK_LOG_INFO,
              "%s: opened %s%s, %u queues", request->peer, request->volume,
              request->read_only ? " read-only" : "", session->granted_queues);
    return reply_open(session);
}

void rdisk_target_session_retry(struct rdisk_target_session *session)
{
    RDISK_USE(session->target);

    if (session->state == RDISK_TARGET_OPENING) {
        rdisk_target_session_step(session, RDISK_TARGET_ON_RETRY);
    }
}
