/* SPDX-License-Identifier: BSD-3-Clause */
/* A session that creates or deletes a volume, makes or uses a snapshot, or
 * lists volumes (list.c), instead of opening one. */
#include <errno.h>
#include <string.h>

#include "transport/initiator/session.h"

int rdisk_initiator_make(struct rdisk_initiator *session, uint64_t size,
                         unsigned int flags)
{
    if (rdisk_initiator_state(session) != RDISK_INITIATOR_IDLE) {
        return -EALREADY;
    }
    if (!size || size % RDISK_BLOCK_SIZE_MIN || size > INT64_MAX ||
        (flags & ~RDISK_CREATE_FLAGS_KNOWN)) {
        return -EINVAL;
    }
    session->handshake.instead = RDISK_MSG_CREATE;
    session->handshake.create_size = size;
    session->handshake.create_flags = flags;
    return 0;
}

int rdisk_initiator_remove(struct rdisk_initiator *session)
{
    if (rdisk_initiator_state(session) != RDISK_INITIATOR_IDLE) {
        return -EALREADY;
    }
    session->handshake.instead = RDISK_MSG_DELETE;
    return 0;
}

int rdisk_initiator_snapshot(struct rdisk_initiator *session,
                             enum rdisk_snapshot_action action,
                             const char *target)
{
    struct rdisk_handshake *handshake = &session->handshake;
    size_t length = target ? strlen(target) : 0;

    if (rdisk_initiator_state(session) != RDISK_INITIATOR_IDLE) {
        return -EALREADY;
    }
    if (action < RDISK_SNAPSHOT_TAKE || action > RDISK_SNAPSHOT_FLATTEN ||
        (action == RDISK_SNAPSHOT_CLONE
             ? !rdisk_volume_name_valid(target ? target : "", length)
             : length != 0)) {
        return -EINVAL;
    }
    handshake->instead = RDISK_MSG_SNAPSHOT;
    handshake->snapshot = action;
    memcpy(handshake->target, target ? target : "", length + 1);
    return 0;
}

bool rdisk_initiator_creates(const struct rdisk_initiator *session)
{
    return session->handshake.instead;
}

/* False: it is not to be sent, and the session fails. */
static bool chosen(struct rdisk_initiator *session, uint64_t feature,
                   const char *verb, const char *message)
{
    if (session->handshake.auth.chosen & feature) {
        return true;
    }
    rdisk_initiator_raise_lost(session, -ENOTSUP,
                               "%s cannot %s volumes for its clients: its "
                               "version is older than %s",
                               session->peer, verb, message);
    return false;
}

static void send_delete(struct rdisk_initiator *session)
{
    size_t length = strlen(session->options.volume);
    struct rdisk_wire_delete wire = {
        .message.type = htole16(RDISK_MSG_DELETE),
        .name_length = htole16((uint16_t)length),
    };

    if (chosen(session, RDISK_FEATURE_DELETE, "delete", "DELETE")) {
        memcpy(wire.name, session->options.volume, length);
        rdisk_initiator_send(session, &wire.message, sizeof(wire));
    }
}

static void send_create(struct rdisk_initiator *session)
{
    const struct rdisk_handshake *handshake = &session->handshake;
    size_t length = strlen(session->options.volume);
    struct rdisk_wire_create create = {
        .message.type = htole16(RDISK_MSG_CREATE),
        .size = htole64(handshake->create_size),
        .flags = htole32(handshake->create_flags),
        .name_length = htole16((uint16_t)length),
    };

    if (chosen(session, RDISK_FEATURE_CREATE, "create", "CREATE")) {
        memcpy(create.name, session->options.volume, length);
        rdisk_initiator_send(session, &create.message, sizeof(create));
    }
}

static void send_snapshot(struct rdisk_initiator *session)
{
    const struct rdisk_handshake *handshake = &session->handshake;
    size_t length = strlen(session->options.volume);
    struct rdisk_wire_snapshot wire = {
        .message.type = htole16(RDISK_MSG_SNAPSHOT),
        .action = htole32(handshake->snapshot),
        .name_length = htole16((uint16_t)length),
        .target_length = htole16((uint16_t)strlen(handshake->target)),
    };

    bool flattens = handshake->snapshot == RDISK_SNAPSHOT_FLATTEN;

    if (chosen(session,
               flattens ? RDISK_FEATURE_FLATTEN : RDISK_FEATURE_SNAPSHOT,
               flattens ? "flatten" : "snapshot or clone",
               flattens ? "FLATTEN" : "SNAPSHOT")) {
        memcpy(wire.name, session->options.volume, length);
        memcpy(wire.target, handshake->target, strlen(handshake->target));
        rdisk_initiator_send(session, &wire.message, sizeof(wire));
    }
}

void rdisk_initiator_send_create(struct rdisk_initiator *session)
{
    switch (session->handshake.instead) {
    case RDISK_MSG_CREATE:
        send_create(session);
        break;
    case RDISK_MSG_DELETE:
        send_delete(session);
        break;
    case RDISK_MSG_SNAPSHOT:
        send_snapshot(session);
        break;
    default:
        if (chosen(session, RDISK_FEATURE_LIST, "list", "LIST")) {
            rdisk_initiator_send_list(session);
        }
        break;
    }
}

int rdisk_initiator_run_to_end(struct rdisk_initiator *session, int ret,
                               struct rdisk_error *why, struct rdisk_error *err)
{
    if (ret == 0) {
        ret = rdisk_initiator_start(session, why);
    }
    if (ret == 0) {
        ret = rdisk_initiator_wait(session, why);
    }
    rdisk_initiator_destroy(session);
    if (ret < 0 && err) {
        *err = *why;
    }
    return ret;
}

int rdisk_delete_volume(const struct rdisk_env *env,
                        const struct rdisk_initiator_options *options,
                        struct rdisk_error *err)
{
    struct rdisk_error why = { 0 };
    struct rdisk_initiator *session = rdisk_initiator_create(env, options, NULL,
                                                             NULL, &why);
    int ret = session ? rdisk_initiator_remove(session) : why.code;

    return rdisk_initiator_run_to_end(session, ret, &why, err);
}

int rdisk_create_volume(const struct rdisk_env *env,
                        const struct rdisk_initiator_options *options,
                        uint64_t size, unsigned int flags,
                        struct rdisk_error *err)
{
    struct rdisk_error why = { 0 };
    struct rdisk_initiator *session = rdisk_initiator_create(env, options, NULL,
                                                             NULL, &why);
    int ret = session ? rdisk_initiator_make(session, size, flags) : why.code;

    if (session && ret < 0) {
        rdisk_error_set(&why, ret,
                        "invalid size %llu: use a multiple of 512, "
                        "not 0",
                        (unsigned long long)size);
    }
    return rdisk_initiator_run_to_end(session, ret, &why, err);
}

int rdisk_snapshot_volume(const struct rdisk_env *env,
                          const struct rdisk_initiator_options *options,
                          enum rdisk_snapshot_action action, const char *target,
                          uint64_t *pause, struct rdisk_error *err)
{
    struct rdisk_error why = { 0 };
    struct rdisk_initiator *session = rdisk_initiator_create(env, options, NULL,
                                                             NULL, &why);
    int ret = session ? rdisk_initiator_snapshot(session, action, target)
                      : why.code;

    if (session && ret < 0) {
        rdisk_volume_name_check(target ? target : "",
                                target ? strlen(target) : 0, &why);
    } else if (session) {
        session->handshake.pause = pause;
    }
    return rdisk_initiator_run_to_end(session, ret, &why, err);
}

int rdisk_flatten_volume(const struct rdisk_env *env,
                         const struct rdisk_initiator_options *options,
                         uint64_t *done, uint64_t *size,
                         struct rdisk_error *err)
{
    struct rdisk_error why = { 0 };
    struct rdisk_initiator *session = rdisk_initiator_create(env, options, NULL,
                                                             NULL, &why);
    int ret = why.code;

    if (session) {
        ret = rdisk_initiator_snapshot(session, RDISK_SNAPSHOT_FLATTEN, NULL);
        session->handshake.pause = done;
        session->handshake.size = size;
    }
    return rdisk_initiator_run_to_end(session, ret, &why, err);
}
