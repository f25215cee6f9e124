/* SPDX-License-Identifier: BSD-3-Clause */
/* A server's name: which addresses are tried, when, and what is said of it. */
#include <errno.h>

#include "tests/unit/support/lone.h"
#include "tests/unit/support/unit.h"

#define DEAD    "10.0.0.77" /* no host has it */
#define DEAD_2  "10.0.0.78"
#define SERVER  "10.0.0.1"
#define REFUSES "10.0.0.3" /* a host without a server */

static void begin(const char *addresses, unsigned int delay_ms)
{
    scene_begin(&scene, 1);
    fake_name_set(scene.fabric, "srv", addresses, delay_ms * RDISK_MSEC);
    lone->options.host = "srv";
    lone->options.open_timeout_ms = 4000;
    lone->options.reconnect_delay_ms = 60000;
}

static void end(void)
{
    scene_drop(lone);
    scene_end(&scene);
}

static const char *why(void)
{
    return rdisk_initiator_error(lone->session)->text;
}

static void lose_connection(void)
{
    fake_qp_break(fake_host_qp(lone->host, 0));
    scene_pump(&scene);
}

static void dead_first(void)
{
    begin(DEAD " " SERVER, 0);
    scene_start(lone);
    scene_advance(&scene, 1900);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_CONNECTING);
    scene_advance(&scene, 200);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    end();
}

static void refusing_first(void)
{
    begin(REFUSES " " SERVER, 0);
    CHECK(scene_connect(lone));
    end();
}

static void share_not_used(void)
{
    /* 1 s for the first, none for the second, half of 3 s for the third. */
    begin(DEAD " " REFUSES " " DEAD_2 " " SERVER, 0);
    scene_start(lone);
    scene_advance(&scene, 1000 + 1500 - 100);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_CONNECTING);
    scene_advance(&scene, 200);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    end();
}

static void all_dead(void)
{
    begin(DEAD " " REFUSES, 0);
    scene_start(lone);
    scene_advance(&scene, 4100);
    scene_failed(lone, -ECONNREFUSED, "cannot connect to srv:7471: ");
    CHECK_SAYS(why(), "no connection to " DEAD ":7471 in time; ");
    CHECK_SAYS(why(), REFUSES ":7471: connection refused");
    end();
}

static void last_dead(void)
{
    begin(REFUSES " " DEAD, 0);
    scene_start(lone);
    scene_advance(&scene, 4100);
    scene_failed(lone, -ETIMEDOUT,
                 "not open within open-timeout=4 seconds, still CONNECTING");
    CHECK_SAYS(why(), REFUSES ":7471: connection refused");
    CHECK_SAYS(why(), "no connection to " DEAD ":7471 in time");
    end();
}

static void many_dead(void)
{
    begin("10.1.1.1 10.1.1.2 10.1.1.3 10.1.1.4 10.1.1.5 10.1.1.6 10.1.1.7 "
          "10.1.1.8",
          0);
    scene_start(lone);
    scene_advance(&scene, 4100);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_FAILED);
    CHECK_SAYS(why(), "10.1.1.1:7471 in time; ");
    CHECK_SAYS(why(), " more addresses");
    end();
}

/* A failed address leaves nothing to the next one's connection. */
static void device_goes(void)
{
    begin(DEAD " " SERVER, 0);
    scene_start(lone);
    scene_advance(&scene, 500);
    fake_host_remove_device(lone->host, true);
    fake_host_restore_device(lone->host);
    scene_advance(&scene, 4000);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    end();
}

static void resolves_again(void)
{
    begin(SERVER, 0);
    REQUIRE(scene_connect(lone));
    fake_name_set(scene.fabric, "srv", DEAD, 0);
    lose_connection();
    scene_advance(&scene, 5000);
    CHECK(lone->state != RDISK_INITIATOR_READY);
    CHECK_SAYS(why(), DEAD);
    fake_name_set(scene.fabric, "srv", SERVER, 0);
    scene_advance(&scene, 10000);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    end();
}

static void resolver_fails_later(void)
{
    begin(SERVER, 0);
    REQUIRE(scene_connect(lone));
    fake_name_set(scene.fabric, "srv", "", 0);
    lose_connection();
    scene_advance(&scene, 500);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    end();
}

static void resolver_hangs_later(void)
{
    begin(SERVER, 0);
    REQUIRE(scene_connect(lone));
    fake_name_set(scene.fabric, "srv", SERVER, 3600000 * RDISK_MSEC);
    lose_connection();
    scene_advance(&scene, 500);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_RESOLVING);
    scene_advance(&scene, 1000);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    end();
}

/* A resolver that needs more time than an attempt gives it. */
static void late_answer(void)
{
    begin(SERVER, 0);
    REQUIRE(scene_connect(lone));
    fake_name_set(scene.fabric, "srv", DEAD, 3000 * RDISK_MSEC);
    scene_stop_server(&scene);
    scene_advance(&scene, 20000);
    CHECK_SAYS(why(), DEAD);
    end();
}

static void one_query_at_a_time(void)
{
    begin(SERVER, 0);
    REQUIRE(scene_connect(lone));
    fake_name_set(scene.fabric, "srv", SERVER, 3600000 * RDISK_MSEC);
    scene_stop_server(&scene);
    scene_advance(&scene, 30000);
    CHECK_EQUAL(fake_calls(lone->host, FAKE_QUERY_NAME), 2);
    end();
}

static void start_does_not_wait(void)
{
    begin(SERVER, 500);
    scene_start(lone);
    scene_pump(&scene);
    CHECK_EQUAL(lone->error.code, 0);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_RESOLVING);
    scene_advance(&scene, 600);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    end();
}

static void resolver_hangs(void)
{
    begin(SERVER, 3600000);
    scene_start(lone);
    scene_advance(&scene, 4100);
    scene_failed(lone, -ETIMEDOUT, "cannot resolve host 'srv'");
    end();
}

static void resolver_refuses(void)
{
    begin(SERVER, 0);
    fake_fail(lone->host, FAKE_QUERY_NAME, 1, EAGAIN);
    CHECK(!scene_connect(lone));
    scene_failed(lone, -EAGAIN, "too many names are being resolved");
    end();
}

static void dropped_while_resolving(void)
{
    begin(SERVER, 1000);
    scene_start(lone);
    scene_pump(&scene);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_RESOLVING);
    end(); /* which finds nothing left */
}

static void address_is_no_name(void)
{
    begin(SERVER, 0);
    lone->options.host = SERVER;
    REQUIRE(scene_connect(lone));
    lose_connection();
    scene_advance(&scene, 500);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(fake_calls(lone->host, FAKE_QUERY_NAME), 0);
    end();
}

static const struct unit_test tests[] = {
    { "a dead address costs its share of the time", dead_first },
    { "an address that refuses costs no time", refusing_first },
    { "what an address does not use of its share the others get",
      share_not_used },
    { "if no address can be connected to, the error names each", all_dead },
    { "if the time is over, the error names each", last_dead },
    { "an error without room for each says how many are left out", many_dead },
    { "the next address is tried on a device that has come back", device_goes },
    { "each attempt resolves the name", resolves_again },
    { "if the name is lost later, its last addresses are tried",
      resolver_fails_later },
    { "if the resolver hangs later, the last addresses are tried",
      resolver_hangs_later },
    { "an answer that comes late is used by the next attempt", late_answer },
    { "a resolver that hangs is asked once", one_query_at_a_time },
    { "starting a session does not wait for the resolver",
      start_does_not_wait },
    { "a resolver that hangs fails the session at open-timeout",
      resolver_hangs },
    { "a query that cannot start fails the session", resolver_refuses },
    { "a session may be destroyed while it resolves", dropped_while_resolving },
    { "an address is not resolved", address_is_no_name },
};

UNIT_SUITE("addresses", tests)
