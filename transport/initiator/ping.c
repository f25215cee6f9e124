/* SPDX-License-Identifier: BSD-3-Clause */
/* PING and PONG, each way. */
#include <errno.h>

#include "transport/initiator/session.h"

void rdisk_initiator_send_ping(struct rdisk_initiator *session)
{
    struct rdisk_wire_ping wire = {
        .message.type = htole16(RDISK_MSG_PING),
    };

    if (!session->ping.sent) {
        session->ping.sent = true;
        session->ping.time = rdisk_now(session->env);
        wire.payload = htole64(session->ping.time);
        rdisk_initiator_send(session, &wire.message, sizeof(wire));
    }
}

int rdisk_initiator_ping(struct rdisk_initiator *session,
                         void (*done)(void *opaque, uint64_t round_trip),
                         void *opaque)
{
    if (rdisk_initiator_state(session) != RDISK_INITIATOR_READY) {
        return -ENOTCONN;
    }
    if (session->ping.sent) {
        return -EBUSY;
    }
    rdisk_use_begin(&session->use);
    session->ping.done = done;
    session->ping.opaque = opaque;
    rdisk_initiator_send_ping(session);
    rdisk_initiator_run(session);
    rdisk_timers_set(session);
    rdisk_use_end(&session->use);
    return 0;
}

void rdisk_initiator_take_ping(struct rdisk_initiator *session,
                               const struct rdisk_wire_message *message)
{
    struct rdisk_wire_ping reply = *(const struct rdisk_wire_ping *)message;

    reply.message.type = htole16(RDISK_MSG_PONG);
    rdisk_initiator_send(session, &reply.message, sizeof(reply));
}

void rdisk_initiator_take_pong(struct rdisk_initiator *session,
                               const struct rdisk_wire_message *message)
{
    const struct rdisk_wire_ping *wire = (const struct rdisk_wire_ping *)
        message;
    void (*done)(void *opaque, uint64_t round_trip) = session->ping.done;

    if (!session->ping.sent || le64toh(wire->payload) != session->ping.time) {
        rdisk_initiator_bad_message(session, "PONG without a PING");
        return;
    }
    session->ping.sent = false;
    session->ping.done = NULL;
    if (done) {
        done(session->ping.opaque,
             rdisk_now(session->env) - session->ping.time);
    }
}
