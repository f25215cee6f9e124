/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Authentication, the client's side: it sends its name, proves that it has the
 * secret, and accepts the server only when that has proved the same.
 */
#include <errno.h>
#include <string.h>

#include "transport/initiator/session.h"

/* ---- Messages that come -------------------------------------------------- */

static void fail(struct rdisk_initiator *session, const char *why)
{
    rdisk_initiator_raise_lost(session, -EACCES, "%s %s", session->peer, why);
}

void rdisk_initiator_authenticate(struct rdisk_initiator *session,
                                  unsigned int method)
{
    bool secret = session->handshake.secret;

    switch (method) {
    case RDISK_AUTH_NONE:
        if (secret) {
            fail(session, "requires no authentication, so the server does not "
                          "prove who it is: give it [client] sections, or this "
                          "client no user and no secret");
            return;
        }
        rdisk_initiator_raise(session, RDISK_EVENT_IDENTIFIED);
        return;
    case RDISK_AUTH_HMAC_SHA256:
        if (!secret) {
            fail(session, "requires authentication: give this client the user "
                          "name and the secret of a [client] section there "
                          "(QEMU: user=NAME,key-secret=ID; rdisk: --user NAME "
                          "--secret-file FILE)");
            return;
        }
        rdisk_initiator_raise(session, RDISK_EVENT_AUTH_DEMANDED);
        return;
    default:
        rdisk_initiator_raise_lost(session, -EACCES,
                                   "%s requires authentication method %u, "
                                   "which this version does not support",
                                   session->peer, method);
    }
}

void rdisk_initiator_take_challenge(struct rdisk_initiator *session,
                                    const struct rdisk_wire_message *message)
{
    const struct rdisk_wire_auth_challenge *wire =
        (const struct rdisk_wire_auth_challenge *)message;

    memcpy(session->handshake.auth.server_nonce, wire->nonce,
           sizeof(wire->nonce));
    session->handshake.challenge = le32toh(message->sequence);
    rdisk_initiator_raise(session, RDISK_EVENT_CHALLENGED);
}

void rdisk_initiator_take_proof(struct rdisk_initiator *session,
                                const struct rdisk_wire_message *message)
{
    const struct rdisk_wire_auth_proof *wire =
        (const struct rdisk_wire_auth_proof *)message;
    struct rdisk_handshake *handshake = &session->handshake;
    uint8_t proof[RDISK_PROOF_SIZE];

    if (rdisk_auth_prove(handshake->secret, RDISK_AUTH_SERVER, &handshake->auth,
                         proof) < 0 ||
        !rdisk_auth_same(proof, wire->proof, sizeof(proof))) {
        fail(session, "has not proved that it knows this client's secret: it "
                      "may be another server");
        return;
    }
    session->durations.steps.auth = rdisk_initiator_step(session);
    rdisk_initiator_raise(session, RDISK_EVENT_IDENTIFIED);
}

/* ---- Messages that go ---------------------------------------------------- */

void rdisk_initiator_send_auth(struct rdisk_initiator *session)
{
    struct rdisk_auth *auth = &session->handshake.auth;
    size_t length = strlen(session->options.user);
    struct rdisk_wire_auth message = {
        .message.type = htole16(RDISK_MSG_AUTH),
        .name_length = htole16((uint16_t)length),
    };

    memcpy(auth->user, session->options.user, length + 1);
    session->env->random(session->env->opaque, auth->client_nonce,
                         sizeof(auth->client_nonce));
    memcpy(message.nonce, auth->client_nonce, sizeof(message.nonce));
    memcpy(message.name, auth->user, length);
    rdisk_initiator_send(session, &message.message, sizeof(message));
}

void rdisk_initiator_send_proof(struct rdisk_initiator *session)
{
    struct rdisk_wire_auth_proof message = {
        .message.type = htole16(RDISK_MSG_AUTH_PROOF),
        .message.sequence = htole32(session->handshake.challenge),
    };

    if (rdisk_auth_prove(session->handshake.secret, RDISK_AUTH_CLIENT,
                         &session->handshake.auth, message.proof) < 0) {
        fail(session, "requires a proof that libcrypto cannot compute: it has "
                      "no HMAC-SHA-256");
        return;
    }
    rdisk_initiator_send(session, &message.message, sizeof(message));
}
