/* SPDX-License-Identifier: BSD-3-Clause */
/* Authentication: a client made by hand against a server that demands it. */
#include "tests/unit/support/hostile.h"
#include "transport/wire/auth.h"
#include "tests/unit/support/unit.h"

#define SECRET "00112233445566778899aabbccddeeff"

static uint8_t nonce[RDISK_NONCE_SIZE]; /* of the server's last */

static void hostile_hello(void)
{
    struct rdisk_wire_hello *reply;

    hostile_message(RDISK_MSG_HELLO, sizeof(struct rdisk_wire_hello));
    reply = (void *)hostile_say(sizeof(struct rdisk_wire_hello));
    REQUIRE(reply && le16toh(reply->message.type) == RDISK_MSG_HELLO_REPLY);
    CHECK_EQUAL(le32toh(reply->auth), RDISK_AUTH_HMAC_SHA256);
}

static void hostile_challenge(void)
{
    struct rdisk_wire_auth *auth = hostile_message(RDISK_MSG_AUTH,
                                                   sizeof(*auth));
    struct rdisk_wire_auth_challenge *challenge;

    auth->name_length = htole16(5);
    memcpy(auth->name, "alice", 5);
    memset(auth->nonce, 0x77, sizeof(auth->nonce));
    challenge = (void *)hostile_say(sizeof(*auth));
    REQUIRE(challenge &&
            le16toh(challenge->message.type) == RDISK_MSG_AUTH_CHALLENGE);
    memcpy(nonce, challenge->nonce, sizeof(nonce));
}

/* With the right secret, for @server_nonce; the answer, if it comes at once. */
static struct rdisk_wire_message *hostile_prove(const uint8_t *server_nonce,
                                                enum rdisk_auth_role role)
{
    struct rdisk_wire_auth_proof *proof = hostile_message(RDISK_MSG_AUTH_PROOF,
                                                          sizeof(*proof));
    struct rdisk_auth auth = { .user = "alice" };

    memset(auth.client_nonce, 0x77, sizeof(auth.client_nonce));
    memcpy(auth.server_nonce, server_nonce, sizeof(auth.server_nonce));
    CHECK_EQUAL(rdisk_auth_prove(&hostile_scene.secret, role, &auth,
                                 proof->proof),
                0);
    return hostile_say(sizeof(*proof));
}

static void proof_by_hand(void)
{
    struct rdisk_wire_message *reply;

    hostile_begin_stranger(1, "alice", SECRET);
    hostile_hello();
    hostile_challenge();
    reply = hostile_prove(nonce, RDISK_AUTH_CLIENT);
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), RDISK_MSG_AUTH_REPLY);
    CHECK_EQUAL(le16toh(reply->status), RDISK_STATUS_OK);
    hostile_open_message();
    reply = hostile_say(sizeof(struct rdisk_wire_open));
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), RDISK_MSG_OPEN_REPLY);
    hostile_end();
}

/* The last message of the server is the denial, and it says no more. */
static void denied(void)
{
    struct ibv_wc wc;
    const struct rdisk_wire_message *reply = NULL;

    scene_advance(&hostile_scene, 1100);
    while (raw_poll(&control, &wc)) {
        if (wc.status == IBV_WC_SUCCESS && (wc.wr_id & RAW_RECV)) {
            reply = (void *)(control.buffer + (uint32_t)wc.wr_id);
        }
    }
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), RDISK_MSG_AUTH_REPLY);
    CHECK_EQUAL(le16toh(reply->status), RDISK_STATUS_DENIED);
    CHECK_EQUAL(hostile_scene.opens, 1);
    hostile_end();
}

/* One that was good once, with the client's side of it as it was then. */
static void replayed_proof(void)
{
    uint8_t old[RDISK_NONCE_SIZE];

    hostile_begin_stranger(1, "alice", SECRET);
    hostile_hello();
    hostile_challenge();
    memcpy(old, nonce, sizeof(old));
    CHECK(hostile_prove(old, RDISK_AUTH_CLIENT) != NULL);
    hostile_end();
    hostile_begin_stranger(2, "alice", SECRET);
    hostile_hello();
    hostile_challenge();
    CHECK(hostile_prove(old, RDISK_AUTH_CLIENT) == NULL);
    denied();
}

static void nonces_differ(void)
{
    uint8_t first[RDISK_NONCE_SIZE];

    hostile_begin_stranger(1, "alice", SECRET);
    hostile_hello();
    hostile_challenge();
    memcpy(first, nonce, sizeof(first));
    hostile_end();
    hostile_begin_stranger(2, "alice", SECRET);
    hostile_hello();
    hostile_challenge();
    CHECK(memcmp(first, nonce, sizeof(first)));
    hostile_end();
}

static void servers_proof_from_a_client(void)
{
    hostile_begin_stranger(1, "alice", SECRET);
    hostile_hello();
    hostile_challenge();
    CHECK(hostile_prove(nonce, RDISK_AUTH_SERVER) == NULL);
    denied();
}

static void words_while_denied(void)
{
    hostile_begin_stranger(1, "alice", SECRET);
    hostile_hello();
    hostile_challenge();
    CHECK(hostile_prove((const uint8_t *)SECRET, RDISK_AUTH_CLIENT) == NULL);
    /* Neither an answer nor an early end comes of these. */
    hostile_open_message();
    CHECK(hostile_say(sizeof(struct rdisk_wire_open)) == NULL);
    CHECK(hostile_prove(nonce, RDISK_AUTH_CLIENT) == NULL);
    denied();
}

/* OPEN in the state that @steps lead to. */
static void open_early(unsigned int steps)
{
    hostile_begin_stranger(1, "alice", SECRET);
    if (steps > 0) {
        hostile_hello();
    }
    if (steps > 1) {
        hostile_challenge();
    }
    hostile_open_message();
    CHECK_EQUAL(raw_send(&control, HOSTILE_SAY, sizeof(struct rdisk_wire_open)),
                0);
    hostile_thrown_out();
    CHECK_SAYS(bye_text, "unexpected ");
    CHECK_EQUAL(hostile_scene.opens, 1);
    hostile_end();
}

static void open_without_authentication(void)
{
    for (unsigned int steps = 0; steps < 3; steps++) {
        open_early(steps);
    }
}

static void malformed_open_tells_nothing(void)
{
    struct rdisk_wire_message *reply;
    struct rdisk_wire_open *open;

    hostile_begin_stranger(1, "alice", SECRET);
    hostile_hello();
    open = hostile_open_message();
    open->flags = htole32(0x80);
    reply = hostile_say(sizeof(*open));
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), RDISK_MSG_BYE);
    scene_advance(&hostile_scene, 3000);
    hostile_end();
}

static void auth_not_demanded(void)
{
    struct rdisk_wire_auth *auth;

    hostile_begin(1);
    hostile_message(RDISK_MSG_HELLO, sizeof(struct rdisk_wire_hello));
    REQUIRE(hostile_say(sizeof(struct rdisk_wire_hello)) != NULL);
    auth = hostile_message(RDISK_MSG_AUTH, sizeof(*auth));
    auth->name_length = htole16(5);
    memcpy(auth->name, "alice", 5);
    CHECK_EQUAL(raw_send(&control, HOSTILE_SAY, sizeof(*auth)), 0);
    hostile_thrown_out();
    CHECK_SAYS(bye_text, "unexpected ");
    hostile_end();
}

static const struct unit_test tests[] = {
    { "a client's proof is taken", proof_by_hand },
    { "a replayed proof is denied", replayed_proof },
    { "no nonce comes twice", nonces_differ },
    { "a server's proof is no client's", servers_proof_from_a_client },
    { "nothing makes a denial come earlier", words_while_denied },
    { "OPEN before the proof ends the session", open_without_authentication },
    { "a malformed OPEN before the proof is not answered",
      malformed_open_tells_nothing },
    { "AUTH that was not demanded ends the session", auth_not_demanded },
};

UNIT_SUITE("auth-hostile", tests)
