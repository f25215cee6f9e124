/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is who, the client's side: it names itself, proves its secret, and takes
 * the server for the right one only when that has proved the same.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "transport/initiator/session.h"

static void fail(struct rdisk_initiator *session, const char *why)
{
    struct rdisk_error err;

    rdisk_error_set(&err, -EACCES, "%s:%u %s", session->options.host,
                    session->options.port, why);
    rdisk_initiator_fail(session, &err);
}

static void say_auth(struct rdisk_initiator *session)
{
    struct rdisk_auth *auth = &session->auth;
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
    rdisk_initiator_set_state(session, RDISK_INITIATOR_AUTH_SENT);
    rdisk_initiator_send(session, &message.message, sizeof(message));
}

void rdisk_initiator_authenticate(struct rdisk_initiator *session,
                                  unsigned int method)
{
    char text[128];

    switch (method) {
    case RDISK_AUTH_NONE:
        if (session->secret.length) {
            fail(session, "demands no authentication, so the server does not "
                 "prove who it is: give it [client] sections, or this client "
                 "no user and no secret");
            return;
        }
        rdisk_initiator_say_open(session);
        return;
    case RDISK_AUTH_HMAC_SHA256:
        if (!session->secret.length) {
            fail(session, "demands authentication: give this client the user "
                 "name and the secret of a [client] section there (QEMU: "
                 "user=NAME,key-secret=ID; rdisk: --user NAME --secret-file "
                 "FILE)");
            return;
        }
        say_auth(session);
        return;
    default:
        snprintf(text, sizeof(text), "demands authentication method %u, which "
                 "this version does not know", method);
        fail(session, text);
    }
}

void rdisk_initiator_challenge(struct rdisk_initiator *session,
                               const struct rdisk_wire_auth_challenge *wire)
{
    struct rdisk_wire_auth_proof message = {
        .message.type = htole16(RDISK_MSG_AUTH_PROOF),
        .message.sequence = wire->message.sequence,
    };

    memcpy(session->auth.server_nonce, wire->nonce, sizeof(wire->nonce));
    if (rdisk_auth_prove(&session->secret, RDISK_AUTH_CLIENT, &session->auth,
                         message.proof) < 0) {
        fail(session, "demands a proof that libcrypto cannot make: it has no "
             "HMAC-SHA-256");
        return;
    }
    rdisk_initiator_set_state(session, RDISK_INITIATOR_PROOF_SENT);
    rdisk_initiator_send(session, &message.message, sizeof(message));
}

void rdisk_initiator_auth_reply(struct rdisk_initiator *session,
                                const struct rdisk_wire_auth_proof *wire)
{
    uint8_t proof[RDISK_PROOF_SIZE];

    if (rdisk_auth_prove(&session->secret, RDISK_AUTH_SERVER, &session->auth,
                         proof) < 0 ||
        !rdisk_auth_same(proof, wire->proof)) {
        fail(session, "does not know this client's secret: it is not the "
             "server that it should be");
        return;
    }
    session->steps.auth = rdisk_initiator_step(session);
    rdisk_initiator_say_open(session);
}
