/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Authentication, the server's side. A client that has not proved its secret
 * learns nothing, not even whether its name exists: an unknown one takes the
 * same steps with a random secret.
 */
#include <string.h>

#include "transport/target/session.h"

enum rdisk_target_event rdisk_target_session_auth(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_auth *wire = message;
    const struct rdisk_env *env = session->target->env;
    struct rdisk_auth *auth = &session->auth;
    struct rdisk_wire_auth_challenge reply = {
        .message.type = htole16(RDISK_MSG_AUTH_CHALLENGE),
        .message.sequence = wire->message.sequence,
    };
    enum rdisk_target_event event;

    memcpy(auth->user, wire->name, le16toh(wire->name_length));
    memcpy(auth->client_nonce, wire->nonce, sizeof(auth->client_nonce));
    env->random(env->opaque, auth->server_nonce, sizeof(auth->server_nonce));
    memcpy(reply.nonce, auth->server_nonce, sizeof(reply.nonce));
    event = rdisk_target_session_reply(session, &reply.message, sizeof(reply));
    return event ? event : RDISK_TARGET_ON_CHALLENGE;
}

/* True if it is the proof of a client that exists; @own is the server's
 * then. */
static bool check_proof(struct rdisk_target_session *session,
                        const struct rdisk_wire_auth_proof *wire, uint8_t *own)
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
    same = rdisk_auth_same(wanted, wire->proof, sizeof(wanted));
    made = rdisk_auth_prove(&secret, RDISK_AUTH_SERVER, auth, own) == 0 && made;
    rdisk_secret_wipe(&secret);
    if (!made) {
        rdisk_log(target->env, RDISK_LOG_ERROR,
                  "libcrypto has no HMAC-SHA-256: no client can authenticate");
    }
    return known && made && same;
}

enum rdisk_target_event rdisk_target_session_proof(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_auth_proof *wire = message;
    struct rdisk_wire_auth_proof reply = {
        .message.type = htole16(RDISK_MSG_AUTH_REPLY),
        .message.sequence = wire->message.sequence,
    };
    enum rdisk_target_event event;

    if (!check_proof(session, wire, reply.proof)) {
        rdisk_log(session->target->env, RDISK_LOG_WARNING,
                  "%s: no client "
                  "'%s' with that secret",
                  session->request.peer, session->auth.user);
        /* Sent at the end of DENY_DELAY. */
        rdisk_target_session_refused(session, RDISK_MSG_AUTH_REPLY,
                                     le32toh(wire->message.sequence),
                                     RDISK_STATUS_DENIED,
                                     "this server knows no client with that "
                                     "name and that secret");
        return RDISK_TARGET_ON_DISPROVED;
    }
    memcpy(session->request.user, session->auth.user,
           sizeof(session->request.user));
    event = rdisk_target_session_reply(session, &reply.message, sizeof(reply));
    return event ? event : RDISK_TARGET_ON_PROVED;
}
