/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions: how they begin, are refused and end. */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/support/message.h"
#include "tests/unit/support/raw.h"
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];

static const struct rdisk_error *why(void)
{
    return rdisk_initiator_error(client->session);
}

static void failed(int code, const char *words)
{
    scene_failed(client, code, words);
}

/* ---- Connecting -------------------------------------------------------- */

static void connects(void)
{
    const struct rdisk_volume_info *info;
    struct rdisk_initiator_steps steps;

    scene_begin(&scene, 1);
    client->options.queues = 3;
    REQUIRE(scene_connect(client));
    info = rdisk_initiator_info(client->session);
    CHECK_EQUAL(info->size, SCENE_SIZE);
    CHECK_EQUAL(info->block_size, SCENE_BLOCK);
    CHECK_EQUAL(info->optimal_size, 4096);
    CHECK_EQUAL(info->max_transfer, 65536);
    CHECK_EQUAL(info->queues, 3);
    CHECK_EQUAL(info->slots, 8);
    CHECK(info->max_segments >= RDISK_SEGMENTS_MIN);
    CHECK(!info->read_only && info->rotational && info->fua);
    CHECK(rdisk_initiator_queue(client->session, 2) != NULL);
    CHECK(rdisk_initiator_queue(client->session, 3) == NULL);
    rdisk_initiator_steps(client->session, &steps);
    CHECK(steps.address && steps.route && steps.connect && steps.hello &&
          steps.open && steps.join);
    CHECK(!strcmp(steps.device, "fake1"));
    CHECK(!strcmp(scene.last_open.volume, "vol"));
    CHECK_EQUAL(scene.last_open.epoch, 1);
    CHECK(!strncmp(scene.last_open.peer, "10.0.0.2:", 9));
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    scene_end(&scene);
}

static void connects_in_any_order(void)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        scene_begin(&scene, seed);
        client->options.queues = 4;
        CHECK(scene_connect(client));
        scene_end(&scene);
    }
}

static void server_limits_win(void)
{
    scene_prepare(&scene, 1);
    scene.options.max_queues = 2;
    scene.options.max_slots = 3;
    scene.options.max_slot_size = 8192;
    scene_serve(&scene);
    client->options.queues = 5;
    REQUIRE(scene_connect(client));
    CHECK_EQUAL(rdisk_initiator_info(client->session)->queues, 2);
    CHECK_EQUAL(rdisk_initiator_info(client->session)->slots, 3);
    CHECK_EQUAL(rdisk_initiator_info(client->session)->max_transfer, 8192);
    scene_end(&scene);
}

static void several_clients(void)
{
    scene_begin(&scene, 5);
    for (unsigned int i = 0; i < SCENE_CLIENTS; i++) {
        scene_start(&scene.clients[i]);
    }
    scene_pump(&scene);
    for (unsigned int i = 0; i < SCENE_CLIENTS; i++) {
        CHECK_EQUAL(scene.clients[i].state, RDISK_INITIATOR_READY);
    }
    CHECK_EQUAL(rdisk_target_sessions(scene.target), SCENE_CLIENTS);
    scene_end(&scene);
}

static void wait_serves(void)
{
    struct rdisk_error err;

    scene_begin(&scene, 1);
    client->options.host = "10.0.0.77";
    client->options.open_timeout_ms = 1;
    scene_start(client);
    /* Virtual time: the address timeout comes as the fabric is run. */
    fake_fabric_advance(scene.fabric, 1000 * RDISK_MSEC);
    CHECK(rdisk_initiator_wait(client->session, &err) < 0);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    scene_end(&scene);
}

/* ---- Refusals ---------------------------------------------------------- */

static void unknown_volume(void)
{
    scene_begin(&scene, 1);
    client->options.volume = "nothere";
    CHECK(!scene_connect(client));
    failed(-ENOENT, "there is no volume 'nothere'");
    CHECK_SAYS(why()->text, "10.0.0.1:7471");
    scene_end(&scene);
}

static void no_listener(void)
{
    scene_prepare(&scene, 1);
    CHECK(!scene_connect(client));
    failed(-ECONNREFUSED, "no rdisk server listens there");
    scene_end(&scene);
}

static void no_device(void)
{
    scene_begin(&scene, 1);
    fake_fail(client->host, FAKE_CREATE_EVENT_CHANNEL, 1, ENODEV);
    CHECK(!scene_connect(client));
    failed(-ENODEV, "no RDMA device");
    scene_end(&scene);
}

static void no_descriptor(void)
{
    scene_begin(&scene, 1);
    fake_fail(client->host, FAKE_CREATE_EVENT_CHANNEL, 1, EMFILE);
    CHECK(!scene_connect(client));
    failed(-EMFILE, "no descriptor is left");
    scene_end(&scene);
}

static void no_device_without_sentence(void)
{
    scene_begin(&scene, 1);
    fake_fail(client->host, FAKE_CREATE_EVENT_CHANNEL, 1, ENODEV);
    client->session = rdisk_initiator_create(&client->env, &client->options,
                                             NULL, NULL, NULL);
    REQUIRE(client->session != NULL);
    CHECK_EQUAL(rdisk_initiator_start(client->session, NULL), -ENODEV);
    CHECK_SAYS(why()->text, "no RDMA device");
    scene_end(&scene);
}

static void unknown_host(void)
{
    scene_begin(&scene, 1);
    client->options.host = "no such host";
    CHECK(!scene_connect(client));
    failed(-ENOENT, "no such host");
    scene_end(&scene);
}

static void unreachable_host(void)
{
    scene_begin(&scene, 1);
    client->options.host = "10.0.0.77";
    client->options.open_timeout_ms = 2000;
    scene_start(client);
    scene_advance(&scene, 2100);
    failed(-ETIMEDOUT, "10.0.0.77");
    scene_end(&scene);
}

static void too_many_sessions(void)
{
    scene_prepare(&scene, 1);
    scene.options.max_sessions = 1;
    scene_serve(&scene);
    REQUIRE(scene_connect(&scene.clients[1]));
    CHECK(!scene_connect(client));
    scene_gives_up(client, -ENOBUFS, "all 1 sessions");
    /* A place that comes free is given again. */
    scene_drop(client);
    scene_disconnect(&scene.clients[1]);
    scene_advance(&scene, 2000);
    CHECK(scene_connect(client));
    scene_end(&scene);
}

/* Another client has 8 slots of the server's memory. */
static void memory_for_slots(unsigned int slots)
{
    scene_prepare(&scene, 1);
    scene.options.max_memory = slots * (65536 + 8192) + 4096;
    scene_serve(&scene);
    REQUIRE(scene_connect(&scene.clients[1]));
    CHECK_EQUAL(rdisk_initiator_info(scene.clients[1].session)->slots, 8);
}

static void memory_used_up(void)
{
    memory_for_slots(8);
    CHECK(!scene_connect(client));
    scene_gives_up(client, -ENOBUFS, "of slots requested");
    /* Its owner has not noted that it has the volume. */
    CHECK_EQUAL(scene.opens, 1);
    CHECK_EQUAL(scene.closes, 0);
    scene_end(&scene);
}

static void little_memory_makes_few_slots(void)
{
    memory_for_slots(14);
    REQUIRE(scene_connect(client));
    CHECK_EQUAL(rdisk_initiator_info(client->session)->slots, 6);
    scene_disconnect(&scene.clients[1]);
    scene_advance(&scene, 2000);
    REQUIRE(scene_connect(&scene.clients[1]));
    CHECK_EQUAL(rdisk_initiator_info(scene.clients[1].session)->slots, 8);
    scene_end(&scene);
}

/* However often, and wherever on the way to a session it stops. */
static void what_was_refused_keeps_no_memory(void)
{
    memory_for_slots(8);
    for (unsigned int i = 0; i < 20; i++) {
        CHECK(!scene_connect(client));
        scene_gives_up(client, -ENOBUFS, "of slots requested");
        scene_drop(client);
    }
    scene_disconnect(&scene.clients[1]);
    for (unsigned int steps = 0; steps < 60; steps++) {
        scene_start(client);
        for (unsigned int i = 0; i < steps; i++) {
            fake_fabric_step(scene.fabric);
            rdisk_initiator_process(client->session);
            rdisk_target_process(scene.target);
        }
        scene_drop(client);
        scene_advance(&scene, 6000);
    }
    REQUIRE(scene_connect(&scene.clients[1]));
    CHECK_EQUAL(rdisk_initiator_info(scene.clients[1].session)->slots, 8);
    scene_end(&scene);
}

static void queue_refused(void)
{
    scene_begin(&scene, 1);
    scene.refuse_queue = true;
    CHECK(!scene_connect(client));
    scene_gives_up(client, -ENOBUFS, "no reactor has time");
    scene_end(&scene);
}

static void stopping_server(void)
{
    scene_begin(&scene, 1);
    REQUIRE(scene_connect(&scene.clients[1]));
    rdisk_target_stop(scene.target, "maintenance");
    CHECK(!scene_connect(client));
    scene_gives_up(client, -ESHUTDOWN, "shutting down");
    scene_end(&scene);
}

static void address_in_use(void)
{
    struct rdisk_error err;

    scene_begin(&scene, 1);
    CHECK(rdisk_target_create(&scene.env, &scene.options,
                              &(struct rdisk_target_events) { 0 }, NULL,
                              &err) == NULL);
    CHECK_EQUAL(err.code, -EADDRINUSE);
    CHECK_SAYS(err.text, "7471");
    scene_end(&scene);
}

static void foreign_address(void)
{
    scene_prepare(&scene, 1);
    scene.options.address = "10.9.9.9";
    scene_serve(&scene);
    CHECK(scene.target == NULL);
    CHECK_EQUAL(scene.error.code, -EADDRNOTAVAIL);
    CHECK_SAYS(scene.error.text, "10.9.9.9");
    scene_end(&scene);
}

/* ---- A server made by hand --------------------------------------------- */

static struct raw server;
static uint8_t reply[512];

/* A raw server instead of the real one, up to the client's REQ. */
static void begin_raw(void)
{
    scene_prepare(&scene, 1);
    raw_init(&server, scene.fabric, scene.server_host);
    raw_listen(&server, SCENE_PORT);
    scene_start(client);
    scene_pump(&scene);
    REQUIRE(raw_request(&server));
}

static void end_raw(void)
{
    scene_drop(client);
    raw_destroy(&server);
    scene_end(&scene);
}

static void other_version_accepts(void)
{
    struct rdisk_wire_accept accept = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(2),
    };

    begin_raw();
    raw_accept(&server, &accept, sizeof(accept));
    scene_pump(&scene);
    failed(-EPROTO, "protocol version 2");
    end_raw();
}

static void other_version_rejects(void)
{
    struct rdisk_wire_reject reject = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(2),
        .status = htole16(RDISK_STATUS_BAD_VERSION),
        .text_length = htole16(15),
        .text = "this is version",
    };

    begin_raw();
    CHECK_EQUAL(server.verbs->reject(server.id, &reject, sizeof(reject)), 0);
    scene_pump(&scene);
    failed(-EPROTO, "this is version");
    end_raw();
}

static void stranger_accepts(void)
{
    begin_raw();
    raw_accept(&server, "hello", 5);
    scene_pump(&scene);
    failed(-EPROTO, "not rdisk");
    end_raw();
}

static void silent_listener(void)
{
    begin_raw();
    scene_advance(&scene, client->options.open_timeout_ms + 100);
    failed(-ETIMEDOUT, "open-timeout=10");
    end_raw();
}

static void accept_control(void)
{
    struct rdisk_wire_accept accept = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
    };

    begin_raw();
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(raw_receive(&server, i * 512, 512), 0);
    }
    raw_accept(&server, &accept, sizeof(accept));
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_HELLO_SENT);
}

static void silent_server(void)
{
    accept_control();
    scene_advance(&scene, client->options.open_timeout_ms + 100);
    failed(-ETIMEDOUT, "still HELLO_SENT");
    end_raw();
}

/* Send a message of @size whose header is filled here. */
static void say(enum rdisk_message_type type, size_t size)
{
    message_fill(reply, type, size);
    memcpy(server.buffer + 8192, reply, size);
    CHECK_EQUAL(raw_send(&server, 8192, (uint32_t)size), 0);
    scene_pump(&scene);
}

static void server_talks_garbage(void)
{
    accept_control();
    memset(server.buffer + 8192, 0xee, 512);
    CHECK_EQUAL(raw_send(&server, 8192, 512), 0);
    scene_pump(&scene);
    failed(-EPROTO, "violates the protocol");
    end_raw();
}

static void server_talks_out_of_turn(void)
{
    accept_control();
    memset(reply, 0, sizeof(reply));
    say(RDISK_MSG_CLOSE_REPLY, 32);
    failed(-EPROTO, "unexpected CLOSE_REPLY in state HELLO_SENT");
    end_raw();
}

static void server_grants_too_much(void)
{
    struct rdisk_wire_open_reply *open = (void *)reply;

    accept_control();
    memset(reply, 0, sizeof(reply));
    say(RDISK_MSG_HELLO_REPLY, sizeof(struct rdisk_wire_hello));
    CHECK_EQUAL(client->state, RDISK_INITIATOR_OPENING);
    memset(reply, 0, sizeof(reply));
    open->session = htole64(1);
    open->epoch = htole64(1);
    open->size = htole64(4096);
    open->block_size = htole32(512);
    open->queues = htole16(2);
    open->slots = htole16(8);
    open->slot_size = htole32(65536);
    say(RDISK_MSG_OPEN_REPLY, sizeof(*open));
    failed(-EPROTO, "granted more");
    end_raw();
}

static void server_wants_authentication(void)
{
    struct rdisk_wire_hello *hello = (void *)reply;

    accept_control();
    memset(reply, 0, sizeof(reply));
    hello->auth = htole32(7);
    say(RDISK_MSG_HELLO_REPLY, sizeof(*hello));
    failed(-EACCES, "authentication method 7");
    end_raw();
}

static void server_goes_while_greeting(void)
{
    accept_control();
    server.verbs->disconnect(server.id);
    scene_pump(&scene);
    scene_gives_up(client, -ETIMEDOUT,
                   "(attempt 2; the one before: 10.0.0.1:7471 ended the "
                   "connection)");
    end_raw();
}

/* ---- The end ----------------------------------------------------------- */

static void close_ends_both(void)
{
    scene_begin(&scene, 1);
    client->options.queues = 2;
    REQUIRE(scene_connect(client));
    rdisk_initiator_close(client->session);
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_CLOSED);
    scene_drop(client);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    CHECK_EQUAL(scene.closes, 1);
    scene_end(&scene);
}

static void destroyed_in_any_state(void)
{
    for (unsigned int steps = 0; steps < 150; steps++) {
        scene_begin(&scene, steps);
        client->options.queues = 2;
        scene_start(client);
        for (unsigned int i = 0; i < steps; i++) {
            fake_fabric_step(scene.fabric);
            rdisk_initiator_process(client->session);
            rdisk_target_process(scene.target);
        }
        scene_drop(client);
        scene_advance(&scene, 60000);
        CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
        scene_end(&scene);
    }
}

static void server_says_why(void)
{
    scene_begin(&scene, 1);
    REQUIRE(scene_connect(client));
    rdisk_target_stop(scene.target, "power cut at noon");
    scene_pump(&scene);
    scene_gives_up(client, -ESHUTDOWN, "power cut at noon");
    scene_end(&scene);
}

static void silent_handshake_is_dropped(void)
{
    struct rdisk_wire_connect hello = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
    };
    struct raw raw;

    scene_begin(&scene, 1);
    raw_init(&raw, scene.fabric, client->host);
    raw_connect_start(&raw, "10.0.0.1", SCENE_PORT, &hello, sizeof(hello));
    scene_pump(&scene);
    REQUIRE(raw_event(&raw) && raw.event == RDMA_CM_EVENT_ESTABLISHED);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    scene_advance(&scene, scene.options.handshake_timeout_ms + 100);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    raw_destroy(&raw);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "a client connects and learns of the volume", connects },
    { "it connects in whatever order events come", connects_in_any_order },
    { "the server's limits win", server_limits_win },
    { "several clients connect at a time", several_clients },
    { "waiting serves the session", wait_serves },
    { "an unknown volume is named", unknown_volume },
    { "a port on which no server listens is explained", no_listener },
    { "on a machine without a device the error says how to get one",
      no_device },
    { "a process without descriptors is reported", no_descriptor },
    { "a failed start needs no place for its sentence",
      no_device_without_sentence },
    { "a host name that does not resolve is named", unknown_host },
    { "a host that does not exist fails in time", unreachable_host },
    { "one session too many is refused until one ends", too_many_sessions },
    { "slots beyond the server's memory are refused", memory_used_up },
    { "with little memory left a session gets few slots",
      little_memory_makes_few_slots },
    { "an OPEN that was refused or left keeps no memory",
      what_was_refused_keeps_no_memory },
    { "a queue its owner does not take is refused with the reason",
      queue_refused },
    { "a stopping server accepts no client", stopping_server },
    { "a port in use is named", address_in_use },
    { "an address of no device is named", foreign_address },
    { "an acceptance of another version says which", other_version_accepts },
    { "a rejection for the version says which", other_version_rejects },
    { "a server that is no rdisk is recognized", stranger_accepts },
    { "a listener that never answers runs into open-timeout", silent_listener },
    { "a server that says nothing runs into open-timeout", silent_server },
    { "garbage from the server ends the session", server_talks_garbage },
    { "a message out of turn ends the session", server_talks_out_of_turn },
    { "a grant of more than was asked ends the session",
      server_grants_too_much },
    { "a demand for unknown authentication is reported",
      server_wants_authentication },
    { "a server that goes while greeting is reported",
      server_goes_while_greeting },
    { "close ends both sides in order", close_ends_both },
    { "a session can be destroyed in any state", destroyed_in_any_state },
    { "a stopping server says why", server_says_why },
    { "a handshake without words is dropped", silent_handshake_is_dropped },
};

UNIT_SUITE("session", tests)
