/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may come in: clients and servers that prove a secret, or do not. */
#include <errno.h>

#include "hostile.h"
#include "raw.h"
#include "scene.h"
#include "transport/auth.h"
#include "unit.h"

#define SECRET  "00112233445566778899aabbccddeeff"
#define OTHER   "00112233445566778899aabbccddeefe"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct rdisk_secret secret;

static const struct rdisk_error *why(void)
{
    return rdisk_initiator_error(client->session);
}

static void failed(int code, const char *words)
{
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(why()->code, code);
    CHECK_SAYS(why()->text, words);
}

static void begin(uint64_t seed)
{
    scene_prepare(&scene, seed);
    scene_authenticate(&scene, "alice", SECRET);
    scene_serve(&scene);
    REQUIRE(scene.target != NULL);
    REQUIRE(rdisk_secret_parse(&secret, OTHER, strlen(OTHER), NULL) == 0);
}

/* ---- Both as they should be ------------------------------------------- */

static void right_secret(void)
{
    struct rdisk_initiator_steps steps;

    for (uint64_t seed = 0; seed < 20; seed++) {
        begin(seed);
        client->options.queues = 2;
        REQUIRE(scene_connect(client));
        CHECK(!strcmp(scene.last_open.user, "alice"));
        rdisk_initiator_steps(client->session, &steps);
        CHECK(steps.auth > 0);
        scene_end(&scene);
    }
}

static void nobody_has_a_name(void)
{
    scene_begin(&scene, 1);
    REQUIRE(scene_connect(client));
    CHECK_EQUAL(scene.last_open.user[0], '\0');
    scene_end(&scene);
}

static void callers_secret_may_go(void)
{
    begin(1);
    REQUIRE(rdisk_secret_parse(&secret, SECRET, strlen(SECRET), NULL) == 0);
    client->options.secret = &secret;
    scene_start(client);
    rdisk_secret_wipe(&secret);
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

static void proves_again_after_a_loss(void)
{
    begin(1);
    client->options.reconnect_delay_ms = 60000;
    REQUIRE(scene_connect(client));
    scene_restart_server(&scene);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK(!strcmp(scene.last_open.user, "alice"));
    CHECK_EQUAL(scene.last_open.epoch > 1, 1);
    scene_end(&scene);
}

/* ---- Denied ------------------------------------------------------------ */

/* How long it takes until the client knows. */
static uint64_t denied_after(void)
{
    uint64_t start = fake_fabric_now(scene.fabric);

    scene_start(client);
    scene_advance(&scene, 500);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_PROVING);
    while (client->state != RDISK_INITIATOR_FAILED &&
           fake_fabric_now(scene.fabric) - start < 5000 * RDISK_MSEC) {
        scene_advance(&scene, 1);
    }
    failed(-EACCES, "this server knows no client with that name and that "
           "secret");
    CHECK_EQUAL(scene.opens, 0);
    return (fake_fabric_now(scene.fabric) - start) / RDISK_MSEC;
}

static void wrong_secret(void)
{
    begin(1);
    client->options.secret = &secret;
    CHECK(denied_after() >= 1000);
    scene_end(&scene);
}

static void unknown_client(void)
{
    char text[sizeof(client->error.text)];
    uint64_t wrong;

    begin(1);
    client->options.secret = &secret;
    wrong = denied_after();
    snprintf(text, sizeof(text), "%s", why()->text);
    scene_end(&scene);

    begin(1);
    client->options.user = "mallory";
    CHECK_EQUAL(denied_after(), wrong);
    CHECK(!strcmp(why()->text, text));
    scene_end(&scene);
}

static void denied_within_the_handshake(void)
{
    scene_prepare(&scene, 1);
    scene_authenticate(&scene, "alice", SECRET);
    scene.options.handshake_timeout_ms = 300;
    scene_serve(&scene);
    client->options.user = "mallory";
    scene_start(client);
    scene_advance(&scene, 400);
    failed(-EACCES, "knows no client");
    scene_end(&scene);
}

static void leaving_early_gains_nothing(void)
{
    begin(1);
    client->options.secret = &secret;
    scene_start(client);
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_PROVING);
    scene_drop(client);
    scene_advance(&scene, 900);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    scene_advance(&scene, 200);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_end(&scene);
}

static void server_stops_after_a_denied_client_left(void)
{
    begin(1);
    client->options.secret = &secret;
    scene_start(client);
    scene_pump(&scene);
    scene_drop(client);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    rdisk_target_stop(scene.target, "the test is over");
    scene_pump(&scene);
    /* At once: there is nobody to wait for. */
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_end(&scene);
}

static void server_stops_while_denying(void)
{
    begin(1);
    client->options.secret = &secret;
    scene_start(client);
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_PROVING);
    scene_stop_server(&scene);
    failed(-ESHUTDOWN, "the test is over");
    scene_end(&scene);
}

/* ---- Not what was configured ------------------------------------------- */

static void no_secret(void)
{
    begin(1);
    client->options.user = NULL;
    client->options.secret = NULL;
    CHECK(!scene_connect(client));
    failed(-EACCES, "--secret-file");
    scene_end(&scene);
}

static void none_demanded(void)
{
    begin(1);
    scene_stop_server(&scene);
    scene.options.authenticate = false;
    scene_serve(&scene);
    CHECK(!scene_connect(client));
    failed(-EACCES, "does not prove who it is");
    CHECK_EQUAL(scene.opens, 0);
    scene_end(&scene);
}

static void refused_option(const char *words)
{
    CHECK(rdisk_initiator_create(&client->env, &client->options, NULL, NULL,
                                 &client->error) == NULL);
    CHECK_EQUAL(client->error.code, -EINVAL);
    CHECK_SAYS(client->error.text, words);
}

static void options_are_checked(void)
{
    begin(1);
    client->options.secret = NULL;
    refused_option("user name is given without a secret");
    client->options.secret = &secret;
    client->options.user = NULL;
    refused_option("secret is given without a user name");
    client->options.user = "../x";
    refused_option("user name '../x'");
    client->options.user = "alice";
    secret.length = RDISK_SECRET_MIN - 1;
    refused_option("15 bytes");
    scene_end(&scene);
}

/* ---- A server made by hand --------------------------------------------- */

static struct raw server;
static union {
    struct rdisk_wire_message message;
    struct rdisk_wire_hello hello;
    struct rdisk_wire_auth_challenge challenge;
    struct rdisk_wire_auth_proof proof;
} say;

static void send_as_server(enum rdisk_message_type type, size_t size)
{
    say.message.magic = htole32(RDISK_WIRE_MAGIC);
    say.message.version = htole16(RDISK_WIRE_VERSION);
    say.message.type = htole16(type);
    say.message.length = htole32((uint32_t)size);
    memcpy(server.buffer + 8192, &say, size);
    CHECK_EQUAL(raw_send(&server, 8192, (uint32_t)size), 0);
    scene_pump(&scene);
    memset(&say, 0, sizeof(say));
}

/* Up to the client's proof, which is the third message it sends. */
static const struct rdisk_wire_auth_proof *begin_server(void)
{
    struct rdisk_wire_accept accept = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
    };

    begin(1);
    scene_stop_server(&scene);
    raw_init(&server, scene.fabric, scene.server_host);
    raw_listen(&server, SCENE_PORT);
    scene_start(client);
    scene_pump(&scene);
    REQUIRE(raw_request(&server));
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(raw_receive(&server, i * 512, 512), 0);
    }
    raw_accept(&server, &accept, sizeof(accept));
    scene_pump(&scene);
    say.hello.auth = htole32(RDISK_AUTH_HMAC_SHA256);
    send_as_server(RDISK_MSG_HELLO_REPLY, sizeof(say.hello));
    CHECK_EQUAL(client->state, RDISK_INITIATOR_NAMING);
    memset(say.challenge.nonce, 0x5a, sizeof(say.challenge.nonce));
    send_as_server(RDISK_MSG_AUTH_CHALLENGE, sizeof(say.challenge));
    REQUIRE(client->state == RDISK_INITIATOR_PROVING);
    return (const void *)(server.buffer + 1024);
}

/* What an honest server would know now. */
static void fill_auth(struct rdisk_auth *auth)
{
    const struct rdisk_wire_hello *hello = (const void *)server.buffer;
    const struct rdisk_wire_auth *wire = (const void *)(server.buffer + 512);

    *auth = (struct rdisk_auth) {
        .user = "alice", .offered = le64toh(hello->features),
    };
    memcpy(auth->client_nonce, wire->nonce, sizeof(wire->nonce));
    memset(auth->server_nonce, 0x5a, sizeof(auth->server_nonce));
}

static void end_server(void)
{
    scene_drop(client);
    raw_destroy(&server);
    scene_end(&scene);
}

static void server_proves(void)
{
    const struct rdisk_wire_auth_proof *proof = begin_server();
    uint8_t wanted[RDISK_PROOF_SIZE];
    struct rdisk_auth auth;

    fill_auth(&auth);
    CHECK_EQUAL(rdisk_auth_prove(&scene.secret, RDISK_AUTH_CLIENT, &auth,
                                 wanted), 0);
    CHECK(rdisk_auth_same(wanted, proof->proof));
    rdisk_auth_prove(&scene.secret, RDISK_AUTH_SERVER, &auth,
                     say.proof.proof);
    send_as_server(RDISK_MSG_AUTH_REPLY, sizeof(say.proof));
    CHECK_EQUAL(client->state, RDISK_INITIATOR_OPENING);
    end_server();
}

static void server_with_wrong_secret(void)
{
    struct rdisk_auth auth;

    begin_server();
    fill_auth(&auth);
    rdisk_auth_prove(&secret, RDISK_AUTH_SERVER, &auth, say.proof.proof);
    send_as_server(RDISK_MSG_AUTH_REPLY, sizeof(say.proof));
    failed(-EACCES, "not the server that it should be");
    end_server();
}

static void server_reflects_the_proof(void)
{
    const struct rdisk_wire_auth_proof *proof = begin_server();

    memcpy(say.proof.proof, proof->proof, sizeof(say.proof.proof));
    send_as_server(RDISK_MSG_AUTH_REPLY, sizeof(say.proof));
    failed(-EACCES, "not the server that it should be");
    end_server();
}

static void server_skips_its_proof(void)
{
    begin_server();
    say.message.status = htole16(RDISK_STATUS_BUSY);
    send_as_server(RDISK_MSG_OPEN_REPLY, sizeof(say.message));
    failed(-EPROTO, "out of turn");
    end_server();
}

static void features_were_tampered_with(void)
{
    struct rdisk_auth auth;

    begin_server();
    fill_auth(&auth);
    auth.offered &= ~RDISK_FEATURE_FUA;
    rdisk_auth_prove(&scene.secret, RDISK_AUTH_SERVER, &auth,
                     say.proof.proof);
    send_as_server(RDISK_MSG_AUTH_REPLY, sizeof(say.proof));
    failed(-EACCES, "not the server that it should be");
    end_server();
}

/* ---- A client made by hand --------------------------------------------- */

static uint8_t nonce[RDISK_NONCE_SIZE];     /* of the server's last */

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
    struct rdisk_wire_auth *auth =
        hostile_message(RDISK_MSG_AUTH, sizeof(*auth));
    struct rdisk_wire_auth_challenge *challenge;

    auth->name_length = htole16(5);
    memcpy(auth->name, "alice", 5);
    memset(auth->nonce, 0x77, sizeof(auth->nonce));
    challenge = (void *)hostile_say(sizeof(*auth));
    REQUIRE(challenge && le16toh(challenge->message.type) ==
            RDISK_MSG_AUTH_CHALLENGE);
    memcpy(nonce, challenge->nonce, sizeof(nonce));
}

/* With the right secret, for @server_nonce; the answer, if it comes at once. */
static struct rdisk_wire_message *hostile_prove(const uint8_t *server_nonce,
                                                enum rdisk_auth_role role)
{
    struct rdisk_wire_auth_proof *proof =
        hostile_message(RDISK_MSG_AUTH_PROOF, sizeof(*proof));
    struct rdisk_auth auth = { .user = "alice" };

    memset(auth.client_nonce, 0x77, sizeof(auth.client_nonce));
    memcpy(auth.server_nonce, server_nonce, sizeof(auth.server_nonce));
    CHECK_EQUAL(rdisk_auth_prove(&hostile_scene.secret, role, &auth,
                                 proof->proof), 0);
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
    CHECK_EQUAL(raw_send(&control, HOSTILE_SAY,
                         sizeof(struct rdisk_wire_open)), 0);
    hostile_thrown_out();
    CHECK_SAYS(bye_text, "out of turn");
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
    CHECK_SAYS(bye_text, "out of turn");
    hostile_end();
}

static const struct unit_test tests[] = {
    { "whoever knows the secret comes in", right_secret },
    { "without authentication nobody has a name", nobody_has_a_name },
    { "the caller's secret may go once the session exists",
      callers_secret_may_go },
    { "after a lost connection it is proved again",
      proves_again_after_a_loss },
    { "a wrong secret is denied, after a second", wrong_secret },
    { "an unknown client is denied like one with a wrong secret",
      unknown_client },
    { "the denial comes within the handshake time-out",
      denied_within_the_handshake },
    { "leaving before the denial makes guessing no faster",
      leaving_early_gains_nothing },
    { "a server can stop while it denies", server_stops_while_denying },
    { "a stopping server does not wait for a denied client that has left",
      server_stops_after_a_denied_client_left },
    { "a client without a secret is told what to configure", no_secret },
    { "a client with a secret refuses a server that proves nothing",
      none_demanded },
    { "user and secret are options that need each other",
      options_are_checked },
    { "a server's proof is taken", server_proves },
    { "a server with another secret is refused", server_with_wrong_secret },
    { "a client's proof reflected is no server's",
      server_reflects_the_proof },
    { "a server cannot skip its proof", server_skips_its_proof },
    { "features changed on the way spoil the proof",
      features_were_tampered_with },
    { "a client's proof is taken", proof_by_hand },
    { "a replayed proof is denied", replayed_proof },
    { "no nonce comes twice", nonces_differ },
    { "a server's proof is no client's", servers_proof_from_a_client },
    { "nothing hurries a denial", words_while_denied },
    { "OPEN before the proof ends the session",
      open_without_authentication },
    { "a malformed OPEN before the proof is not answered",
      malformed_open_tells_nothing },
    { "AUTH that was not demanded ends the session", auth_not_demanded },
};

UNIT_SUITE("auth", tests)
