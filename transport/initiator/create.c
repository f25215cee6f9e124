/* SPDX-License-Identifier: BSD-3-Clause */
/* A session that makes a volume instead of opening one. */
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
    session->make_size = size;
    session->make_flags = flags;
    return 0;
}

void rdisk_initiator_say_create(struct rdisk_initiator *session)
{
    size_t length = strlen(session->options.volume);
    struct rdisk_wire_create create = {
        .message.type = htole16(RDISK_MSG_CREATE),
        .size = htole64(session->make_size),
        .flags = htole32(session->make_flags),
        .name_length = htole16((uint16_t)length),
    };
    struct rdisk_error err;

    if (!(session->auth.chosen & RDISK_FEATURE_CREATE)) {
        rdisk_error_set(&err, -ENOTSUP, "%s:%u cannot make volumes for its "
                        "clients: it is older than this",
                        session->options.host, session->options.port);
        rdisk_initiator_fail(session, &err);
        return;
    }
    memcpy(create.name, session->options.volume, length);
    rdisk_initiator_set_state(session, RDISK_INITIATOR_CREATING);
    rdisk_initiator_send(session, &create.message, sizeof(create));
}

void rdisk_initiator_created(struct rdisk_initiator *session)
{
    session->open_deadline = RDISK_NEVER;
    rdisk_initiator_set_state(session, RDISK_INITIATOR_CLOSED);
}

int rdisk_create_volume(const struct rdisk_env *env,
                        const struct rdisk_initiator_options *options,
                        uint64_t size, unsigned int flags,
                        struct rdisk_error *err)
{
    struct rdisk_error why = { 0 };
    struct rdisk_initiator *session =
        rdisk_initiator_create(env, options, NULL, NULL, &why);
    int ret = session ? rdisk_initiator_make(session, size, flags) : why.code;

    if (session && ret < 0) {
        rdisk_error_set(&why, ret, "a volume of %llu bytes cannot be: its "
                        "size is a multiple of 512, and not 0",
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
