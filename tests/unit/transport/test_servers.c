/* SPDX-License-Identifier: BSD-3-Clause */
/* A client that names several servers: which one it asks, and when. */
#include <errno.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"
#include "transport/initiator/session.h"

#define HOST  "10.0.0.1" /* the server's; one port of it is one server */
#define OTHER "10.0.0.1:7472"
#define DEAD  "10.0.0.77" /* no host has it */

static struct scene scene;
static struct scene_client *const lone = &scene.clients[0];
static uint8_t buffer[4096] __attribute__((aligned(4096)));

static void begin(const char *host, const char *servers)
{
    scene_prepare(&scene, 1);
    scene_serve(&scene);
    REQUIRE(scene.target != NULL);
    lone->options.host = host;
    lone->options.servers = servers;
    lone->options.open_timeout_ms = 4000;
    lone->options.reconnect_delay_ms = 60000;
}

static void end(void)
{
    scene_drop(lone);
    scene_end(&scene);
}

/* The server dies, and the other one is there; the longest pause passes. */
static void move_to(uint16_t port)
{
    scene.options.port = port;
    scene_restart_server(&scene);
    scene_advance(&scene, 6000);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
}

static uint64_t epoch(void)
{
    return rdisk_initiator_info(lone->session)->epoch;
}

/* ---- Opening ------------------------------------------------------------- */

static void one_that_refuses_is_passed(void)
{
    begin(HOST, HOST ":7471");
    lone->options.port = 7999;
    CHECK(scene_connect(lone));
    CHECK_EQUAL(epoch(), 2);
    CHECK(scene.last_open.servers);
    end();
}

static void dead_one_has_its_share_of_the_time(void)
{
    begin(DEAD, HOST);
    scene_start(lone);
    scene_advance(&scene, 1900);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_CONNECTING);
    scene_advance(&scene, 300);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    end();
}

static void name_that_is_unknown_is_passed(void)
{
    begin("nowhere", HOST);
    CHECK(scene_connect(lone));
    CHECK_EQUAL(epoch(), 1);
    end();
}

static void answer_counts(void)
{
    begin(HOST, OTHER);
    lone->options.volume = "missing";
    scene_start(lone);
    scene_pump(&scene);
    scene_failed(lone, -ENOENT, HOST ":7471 refused");
    end();
}

static void all_are_missing(void)
{
    begin(HOST, OTHER ",10.0.0.1:7473");
    lone->options.port = 7999;
    scene.options.port = 7999;
    lone->options.servers = "10.0.0.1:7998,10.0.0.1:7997";
    scene_start(lone);
    scene_advance(&scene, 100);
    scene_failed(lone, -ECONNREFUSED, "10.0.0.1:7997: connection refused");
    CHECK_SAYS(rdisk_initiator_error(lone->session)->text,
               "attempt 3; the one before: 10.0.0.1:7998");
    end();
}

static void one_alone_says_nothing_of_it(void)
{
    begin(HOST, "");
    CHECK(scene_connect(lone));
    CHECK(!scene.last_open.servers);
    end();
}

static void older_server_is_refused(void)
{
    scene_prepare(&scene, 1);
    scene.options.withheld_features = RDISK_FEATURE_SERVERS;
    scene_serve(&scene);
    REQUIRE(scene.target != NULL);
    lone->options.servers = OTHER;
    scene_start(lone);
    scene_pump(&scene);
    scene_failed(lone, -ENOTSUP, "is too old to be one of several servers");
    CHECK_EQUAL(scene.opens, 0);
    lone->options.servers = NULL;
    scene_drop(lone);
    CHECK(scene_connect(lone));
    end();
}

static void too_many_are_refused(void)
{
    struct rdisk_error err;

    begin(HOST, "a,b,c,d,e,f,g");
    CHECK_EQUAL(rdisk_initiator_options_check(&lone->options, &err), 0);
    lone->options.servers = "a,b,c,d,e,f,g,h";
    CHECK_EQUAL(rdisk_initiator_options_check(&lone->options, &err), -EINVAL);
    CHECK_SAYS(err.text, "more than 8 servers");
    lone->options.servers = "a,:7";
    CHECK_EQUAL(rdisk_initiator_options_check(&lone->options, &err), -EINVAL);
    scene_end(&scene);
}

/* ---- Reconnecting -------------------------------------------------------- */

static void reconnects_to_the_other(void)
{
    begin(HOST, OTHER);
    REQUIRE(scene_connect(lone));
    scene_pattern(buffer, sizeof(buffer), 7);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_WRITE, 0, buffer, sizeof(buffer)), 0);
    move_to(7472);
    CHECK(epoch() > 2);
    CHECK_EQUAL(scene.last_open.generation,
                rdisk_initiator_info(lone->session)->generation);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 0, buffer, sizeof(buffer)), 0);
    CHECK(scene_is_pattern(buffer, sizeof(buffer), 7));
    end();
}

static void one_that_served_last_is_first(void)
{
    uint64_t before;

    begin(HOST, OTHER);
    REQUIRE(scene_connect(lone));
    move_to(7472);
    before = epoch();
    fake_qp_break(fake_host_qp(lone->host, 0));
    scene_advance(&scene, 400);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(epoch(), before + 1);
    end();
}

/* It may be stopped, and then takes connections without an answer. */
static void silent_one_is_last(void)
{
    begin(HOST, HOST ":7471");
    lone->options.heartbeat_ms = 1000;
    REQUIRE(scene_connect(lone));
    fake_link_cut(lone->host, scene.server_host, true);
    scene_advance(&scene, 1010);
    CHECK(lone->state != RDISK_INITIATOR_READY);
    CHECK_EQUAL(lone->session->servers.current, 1);
    fake_link_cut(lone->host, scene.server_host, false);
    scene_advance(&scene, 8000);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    end();
}

static void drained_one_is_last(void)
{
    begin(HOST, OTHER);
    REQUIRE(scene_connect(lone));
    scene_drain(&scene);
    scene_pump(&scene);
    CHECK_EQUAL(lone->session->servers.current, 1);
    end();
}

/* ---- Handing over -------------------------------------------------------- */

#define THIRD "10.0.0.1:7473"

/* Returns the number of the server that it goes on at. */
static unsigned int hand_over_to(const char *host, uint16_t port)
{
    scene.moves_to = host;
    scene.moves_to_port = port;
    scene_drain(&scene);
    scene_pump(&scene);
    CHECK(lone->state != RDISK_INITIATOR_READY);
    return lone->session->servers.current;
}

static void goes_to_the_one_that_is_named(void)
{
    begin(HOST, OTHER "," THIRD);
    REQUIRE(scene_connect(lone));
    CHECK_EQUAL(hand_over_to(HOST, 7473), 2);
    CHECK_EQUAL(scene.moved, 1);
    scene.drained = false;
    move_to(7473);
    /* What it was told counts once. */
    CHECK_EQUAL(lone->session->servers.next, 0);
    scene.moves_to = NULL;
    scene_drain(&scene);
    scene_pump(&scene);
    CHECK_EQUAL(lone->session->servers.current, 0);
    end();
}

static void goes_back(void)
{
    begin(HOST, OTHER "," THIRD);
    REQUIRE(scene_connect(lone));
    CHECK_EQUAL(hand_over_to(HOST, 7473), 2);
    scene.drained = false;
    move_to(7473);
    CHECK_EQUAL(hand_over_to(HOST, 7471), 0);
    end();
}

/* The host names of its URI count, whatever their case, and addresses. */
static void goes_to_its_name(void)
{
    begin(HOST, OTHER ",Gateway-3:7473");
    REQUIRE(scene_connect(lone));
    CHECK_EQUAL(hand_over_to("gateway-3", 7473), 2);
    end();
}

/* A server cannot send it where it was not told to go. */
static void one_that_it_was_not_given_is_not_asked(void)
{
    begin(HOST, OTHER "," THIRD);
    REQUIRE(scene_connect(lone));
    CHECK_EQUAL(hand_over_to("10.0.0.66", 7473), 1);
    CHECK_EQUAL(scene.moved, 1);
    end();
    begin(HOST, OTHER "," THIRD);
    REQUIRE(scene_connect(lone));
    CHECK_EQUAL(hand_over_to(HOST, 7474), 1);
    end();
}

static void one_that_is_named_and_refuses_is_followed(void)
{
    begin(HOST, OTHER "," THIRD);
    REQUIRE(scene_connect(lone));
    CHECK_EQUAL(hand_over_to(HOST, 7473), 2);
    scene.drained = false;
    move_to(7472);
    end();
}

static void older_ones_take_the_next(uint64_t client, uint64_t server)
{
    scene_prepare(&scene, 1);
    scene.options.withheld_features |= server;
    lone->options.withheld_features |= client;
    scene_serve(&scene);
    REQUIRE(scene.target != NULL);
    lone->options.servers = OTHER "," THIRD;
    lone->options.reconnect_delay_ms = 60000;
    REQUIRE(scene_connect(lone));
    CHECK_EQUAL(hand_over_to(HOST, 7473), 1);
    CHECK_EQUAL(scene.moved, 0);
    end();
}

static void older_client_takes_the_next(void)
{
    older_ones_take_the_next(RDISK_FEATURE_MOVE, 0);
}

static void older_server_does_not_say(void)
{
    older_ones_take_the_next(0, RDISK_FEATURE_MOVE);
}

static void one_with_one_server_is_not_told(void)
{
    begin(HOST, NULL);
    REQUIRE(scene_connect(lone));
    CHECK_EQUAL(hand_over_to(HOST, 7473), 0);
    CHECK_EQUAL(scene.moved, 0);
    end();
}

static const struct unit_test tests[] = {
    { "a server that refuses is followed by the next at once",
      one_that_refuses_is_passed },
    { "a dead server has its share of open-timeout",
      dead_one_has_its_share_of_the_time },
    { "a server whose name is unknown is followed by the next",
      name_that_is_unknown_is_passed },
    { "what a server answers counts for all", answer_counts },
    { "an error names the servers that were tried", all_are_missing },
    { "a client with one server says nothing of others",
      one_alone_says_nothing_of_it },
    { "an older server is not one of several", older_server_is_refused },
    { "more than eight servers are refused", too_many_are_refused },
    { "requests go on at another server when one has ended",
      reconnects_to_the_other },
    { "the server that served last is asked first",
      one_that_served_last_is_first },
    { "a server that is silent for heartbeat is asked last",
      silent_one_is_last },
    { "a server that leaves is asked last", drained_one_is_last },
    { "a client that is handed over goes to the server that is named",
      goes_to_the_one_that_is_named },
    { "a client that was handed over is handed back", goes_back },
    { "a server is named as the client names it", goes_to_its_name },
    { "a client is not handed over to a server that it was not given",
      one_that_it_was_not_given_is_not_asked },
    { "if the server that is named refuses, the others are asked",
      one_that_is_named_and_refuses_is_followed },
    { "an older client goes to the next server", older_client_takes_the_next },
    { "a client of an older server goes to the next one",
      older_server_does_not_say },
    { "a client with one server is not handed over",
      one_with_one_server_is_not_told },
};

UNIT_SUITE("servers", tests)
