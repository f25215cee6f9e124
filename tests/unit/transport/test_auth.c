/* SPDX-License-Identifier: BSD-3-Clause */
/* Authentication: clients that prove a secret or do not, and servers too. */
#include <errno.h>

#include "tests/unit/support/message.h"
#include "tests/unit/support/raw.h"
#include "tests/unit/support/scene.h"
#include "transport/wire/auth.h"
#include "tests/unit/support/unit.h"

#define SECRET "00112233445566778899aabbccddeeff"
#define OTHER  "00112233445566778899aabbccddeefe"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct rdisk_secret secret;

static const struct rdisk_error *why(void)
{
    return rdisk_initiator_error(client->session);
}

static void failed(int code, const char *words)
{
    scene_failed(client, code, words);
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

static void no_client_has_a_name(void)
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
    CHECK_EQUAL(client->state, RDISK_INITIATOR_PROOF_SENT);
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
    CHECK_EQUAL(client->state, RDISK_INITIATOR_PROOF_SENT);
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
    /* At once: there is no client to wait for. */
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_end(&scene);
}

static void server_stops_while_denying(void)
{
    begin(1);
    client->options.secret = &secret;
    scene_start(client);
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_PROOF_SENT);
    scene_stop_server(&scene);
    failed(-ESHUTDOWN, "the server is shutting down");
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
    refused_option("client name '../x'");
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
    message_fill(&say, type, size);
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
    CHECK_EQUAL(client->state, RDISK_INITIATOR_AUTH_SENT);
    memset(say.challenge.nonce, 0x5a, sizeof(say.challenge.nonce));
    send_as_server(RDISK_MSG_AUTH_CHALLENGE, sizeof(say.challenge));
    REQUIRE(client->state == RDISK_INITIATOR_PROOF_SENT);
    return (const void *)(server.buffer + 1024);
}

/* What an honest server would know now. */
static void fill_auth(struct rdisk_auth *auth)
{
    const struct rdisk_wire_hello *hello = (const void *)server.buffer;
    const struct rdisk_wire_auth *wire = (const void *)(server.buffer + 512);

    *auth = (struct rdisk_auth) {
        .user = "alice",
        .offered = le64toh(hello->features),
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
                                 wanted),
                0);
    CHECK(rdisk_auth_same(wanted, proof->proof, sizeof(wanted)));
    rdisk_auth_prove(&scene.secret, RDISK_AUTH_SERVER, &auth, say.proof.proof);
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
    failed(-EACCES, "has not proved that it knows");
    end_server();
}

static void server_reflects_the_proof(void)
{
    const struct rdisk_wire_auth_proof *proof = begin_server();

    memcpy(say.proof.proof, proof->proof, sizeof(say.proof.proof));
    send_as_server(RDISK_MSG_AUTH_REPLY, sizeof(say.proof));
    failed(-EACCES, "has not proved that it knows");
    end_server();
}

static void server_skips_its_proof(void)
{
    begin_server();
    say.message.status = htole16(RDISK_STATUS_BUSY);
    send_as_server(RDISK_MSG_OPEN_REPLY, sizeof(say.message));
    failed(-EPROTO, "unexpected OPEN_REPLY in state PROOF_SENT");
    end_server();
}

static void features_were_tampered_with(void)
{
    struct rdisk_auth auth;

    begin_server();
    fill_auth(&auth);
    auth.offered &= ~RDISK_FEATURE_FUA;
    rdisk_auth_prove(&scene.secret, RDISK_AUTH_SERVER, &auth, say.proof.proof);
    send_as_server(RDISK_MSG_AUTH_REPLY, sizeof(say.proof));
    failed(-EACCES, "has not proved that it knows");
    end_server();
}

static const struct unit_test tests[] = {
    { "a client that knows the secret is accepted", right_secret },
    { "without authentication no client has a name", no_client_has_a_name },
    { "the caller's secret may go once the session exists",
      callers_secret_may_go },
    { "after a lost connection it is proved again", proves_again_after_a_loss },
    { "a wrong secret is denied, after a second", wrong_secret },
    { "an unknown client is denied like one with a wrong secret",
      unknown_client },
    { "the denial comes within the handshake timeout",
      denied_within_the_handshake },
    { "leaving before the denial makes guessing no faster",
      leaving_early_gains_nothing },
    { "a server can stop while it denies", server_stops_while_denying },
    { "a stopping server does not wait for a denied client that has left",
      server_stops_after_a_denied_client_left },
    { "a client without a secret reports what to configure", no_secret },
    { "a client with a secret refuses a server that proves nothing",
      none_demanded },
    { "user and secret are options that need each other", options_are_checked },
    { "a server's proof is taken", server_proves },
    { "a server with another secret is refused", server_with_wrong_secret },
    { "a client's proof reflected is no server's", server_reflects_the_proof },
    { "a server cannot skip its proof", server_skips_its_proof },
    { "features changed on the way spoil the proof",
      features_were_tampered_with },
};

UNIT_SUITE("auth", tests)
