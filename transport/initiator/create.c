/* SPDX-License-Identifier: BSD-3-Clause */
/* A session that creates or deletes a volume instead of opening one. */
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
    session->handshake.create_size = size;
    session->handshake.create_flags = flags;
    return 0;
}

int rdisk_initiator_remove(struct rdisk_initiator *session)
{
    if (rdisk_initiator_state(session) != RDISK_INITIATOR_IDLE) {
        return -EALREADY;
    }
    session->handshake.deletes = true;
    session->handshake.create_size = 0;
    return 0;
}

bool rdisk_initiator_creates(const struct rdisk_initiator *session)
{
    return session->handshake.create_size || session->handshake.deletes;
}

static void send_delete(struct rdisk_initiator *session)
{
    size_t length = strlen(session->options.volume);
    struct rdisk_wire_delete wire = {
        .message.type = htole16(RDISK_MSG_DELETE),
        .name_length = htole16((uint16_t)length),
    };

    if (!(session->handshake.auth.chosen & RDISK_FEATURE_DELETE)) {
        rdisk_initiator_raise_lost(session, -ENOTSUP,
                                   "%s cannot delete volumes for its clients: "
                                   "its version is older than DELETE",
                                   session->peer);
        return;
    }
    memcpy(wire.name, session->options.volume, length);
    rdisk_initiator_send(session, &wire.message, sizeof(wire));
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

    if (!(handshake->auth.chosen & RDISK_FEATURE_CREATE)) {
        rdisk_initiator_raise_lost(session, -ENOTSUP,
                                   "%s cannot create "
                                   "volumes for its clients: its version is "
                                   "older than CREATE",
                                   session->peer);
        return;
    }
    memcpy(create.name, session->options.volume, length);
    rdisk_initiator_send(session, &create.message, sizeof(create));
}

void rdisk_initiator_send_create(struct rdisk_initiator *session)
{
    if (session->handshake.deletes) {
        send_delete(session);
    } else {
        send_create(session);
    }
}

/* Serve it to its end, if @ret is 0, and destroy it. */
static int run_to_the_end(struct rdisk_initiator *session, int ret,
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

    return run_to_the_end(session, ret, &why, err);
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
    return run_to_the_end(session, ret, &why, err);
}
