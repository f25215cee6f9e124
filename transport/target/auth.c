/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is who, the server's side. A client that has not proved its secret
 * learns nothing, not even whether its name exists: an unknown one takes the
 * same steps with a secret that nobody has.
 */
#include <string.h>

#include "transport/target/session.h"

/* Until a client is told that its proof is wrong. */
#define DENY_MS 1000

void rdisk_target_session_auth(struct rdisk_target_session *session,
                               const struct rdisk_wire_auth *wire)
{
    const struct rdisk_env *env = session->target->env;
    struct rdisk_auth *auth = &session->auth;
    struct rdisk_wire_auth_challenge reply = {
        .message.type = htole16(RDISK_MSG_AUTH_CHALLENGE),
        .message.sequence = wire->message.sequence,
    };

    memcpy(auth->user, wire->name, le16toh(wire->name_length));
    memcpy(auth->client_nonce, wire->nonce, sizeof(auth->client_nonce));
    env->random(env->opaque, auth->server_nonce, sizeof(auth->server_nonce));
    memcpy(reply.nonce, auth->server_nonce, sizeof(reply.nonce));
    session->state = RDISK_TARGET_CHALLENGED;
    rdisk_target_session_reply(session, &reply.message, sizeof(reply));
}

/* Is it the proof of a client that exists? Then @own gets the server's. */
static bool check_proof(struct rdisk_target_session *session,
                        const struct rdisk_wire_auth_proof *wire,
                        uint8_t *own)
{
    struct rdisk_target *target = session->target;
    const struct rdisk_auth *auth = &session->auth;
    uint8_t wanted[RDISK_PROOF_SIZE];
    struct rdisk_secret secret;
    bool known, made, same;

    target->env->random(target->env->opaque, secret.bytes,
                        sizeof(secret.bytes));
    secret.length = sizeof(secret.bytes);
    known = target->events->secret(target->opaque, auth->user, &secret);
    made = rdisk_auth_prove(&secret, RDISK_AUTH_CLIENT, auth, wanted) == 0;
    same = rdisk_auth_same(wanted, wire->proof);
    made = rdisk_auth_prove(&secret, RDISK_AUTH_SERVER, auth, own) == 0 && made;
    rdisk_secret_wipe(&secret);
    if (!made) {
        rdisk_log(target->env, RDISK_LOG_ERROR, "libcrypto has no "
                  "HMAC-SHA-256: nobody can prove who it is");
    }
    return known && made && same;
}

void rdisk_target_session_proof(struct rdisk_target_session *session,
                                const struct rdisk_wire_auth_proof *wire)
{
    struct rdisk_target *target = session->target;
    uint64_t answer = rdisk_now(target->env) + DENY_MS * RDISK_MSEC;
    struct rdisk_wire_auth_proof reply = {
        .message.type = htole16(RDISK_MSG_AUTH_REPLY),
        .message.sequence = wire->message.sequence,
    };

    if (!check_proof(session, wire, reply.proof)) {
        rdisk_log(target->env, RDISK_LOG_WARNING, "%s: no client '%s' with "
                  "that secret", session->request.peer, session->auth.user);
        session->state = RDISK_TARGET_DENYING;
        session->proof_sequence = le32toh(wire->message.sequence);
        /* Not later than the handshake time-out. */
        session->deadline = answer < session->deadline ? answer
                                                       : session->deadline;
        return;
    }
    memcpy(session->request.user, session->auth.user,
           sizeof(session->request.user));
    session->state = RDISK_TARGET_GREETED;
    rdisk_target_session_reply(session, &reply.message, sizeof(reply));
}

void rdisk_target_session_deny(struct rdisk_target_session *session)
{
    if (session->client_left) {
        rdisk_target_session_cut(session);
        return;
    }
    rdisk_target_session_refuse(session, session->proof_sequence,
                                RDISK_MSG_AUTH_REPLY, RDISK_STATUS_DENIED,
                                "this server knows no client with that name "
                                "and that secret");
}
