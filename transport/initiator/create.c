/* SPDX-License-Identifier: BSD-3-Clause */
/* A session that creates a volume instead of opening one. */
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

bool rdisk_initiator_creates(const struct rdisk_initiator *session)
{
    return session->handshake.create_size;
}

void rdisk_initiator_send_create(struct rdisk_initiator *session)
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
    if (ret == 0) {
        ret = rdisk_initiator_start(session, &why);
    }
    if (ret == 0) {
        ret = rdisk_initiator_wait(session, &why);
    }
    rdisk_initiator_destroy(session);
    if (ret < 0 && err) {
        *err = why;
    }
    return ret;
}
