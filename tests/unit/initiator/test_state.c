/* SPDX-License-Identifier: BSD-3-Clause */
/* The session's state machine: events are taken one after the other. */
#include <errno.h>

#include "tests/unit/support/lone.h"
#include "tests/unit/support/unit.h"

static enum rdisk_initiator_state act_in;
static void (*act)(struct rdisk_initiator *session);
static unsigned int calls, nested;
static bool within;
static char trace[400];

static void on_state(void *opaque, enum rdisk_initiator_state state)
{
    struct scene_client *client = opaque;

    client->state = state;
    nested += within;
    within = true;
    if (state == act_in && act) {
        calls++;
        act(client->session);
        /* What it changes comes after this. */
        CHECK_EQUAL(rdisk_initiator_state(client->session), state);
    }
    within = false;
}

static void on_transition(void *opaque, enum rdisk_initiator_state from,
                          const char *event, enum rdisk_initiator_state to)
{
    size_t used = strlen(trace);

    snprintf(trace + used, sizeof(trace) - used, "%s:%s>%s ", event,
             rdisk_initiator_state_name(from), rdisk_initiator_state_name(to));
}

static const struct rdisk_initiator_events events = {
    .state = on_state,
    .transition = on_transition,
};

/* A session that does something from within its own callback. */
static void begin(enum rdisk_initiator_state state,
                  void (*action)(struct rdisk_initiator *session),
                  unsigned int reconnect_delay_ms)
{
    scene_begin(&scene, 1);
    lone->options.reconnect_delay_ms = reconnect_delay_ms;
    act_in = state;
    act = action;
    calls = nested = 0;
    trace[0] = '\0';
    lone->state = RDISK_INITIATOR_IDLE;
    lone->session = rdisk_initiator_create(&lone->env, &lone->options, &events,
                                           lone, &lone->error);
    REQUIRE(lone->session);
    CHECK_EQUAL(rdisk_initiator_start(lone->session, &lone->error), 0);
    scene_pump(&scene);
    CHECK_EQUAL(nested, 0);
}

static void end(void)
{
    scene_drop(lone);
    scene_end(&scene);
}

static void transitions_are_reported(void)
{
    begin(RDISK_INITIATOR_IDLE, NULL, 0);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    rdisk_initiator_close(lone->session);
    scene_pump(&scene);
    CHECK_SAYS(trace, "START:IDLE>RESOLVING RESOLVED:RESOLVING>CONNECTING "
                      "CONNECTED:CONNECTING>HELLO_SENT "
                      "IDENTIFIED:HELLO_SENT>OPENING OPENED:OPENING>JOINING "
                      "JOINED:JOINING>READY CLOSE:READY>CLOSING "
                      "CLOSE_REPLIED:CLOSING>CLOSED");
    end();
}

static void close_within(void)
{
    begin(RDISK_INITIATOR_READY, rdisk_initiator_close, 0);
    CHECK_EQUAL(calls, 1);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_CLOSED);
    end();
}

static void give_up_within(void)
{
    begin(RDISK_INITIATOR_READY, rdisk_initiator_give_up, 1000);
    CHECK(calls >= 1);
    CHECK_SAYS(trace, "GIVE_UP:READY>QUIESCING STOP_WAITING:QUIESCING>");
    act = NULL;
    scene_advance(&scene, 1000);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    CHECK(rdisk_initiator_reconnects(lone->session) >= 1);
    end();
}

static void close_too_early(void)
{
    begin(RDISK_INITIATOR_OPENING, rdisk_initiator_close, 0);
    CHECK_EQUAL(calls, 1);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    end();
}

/* The server said why it ends; that its connections end is no other reason. */
static void first_failure(void)
{
    begin(RDISK_INITIATOR_IDLE, NULL, 0);
    rdisk_target_stop(scene.target, "for maintenance");
    scene_pump(&scene);
    scene_failed(lone, -ESHUTDOWN, "for maintenance");
    end();
}

static const struct unit_test tests[] = {
    { "each transition is reported, with its event", transitions_are_reported },
    { "a close from within a callback comes after the step", close_within },
    { "giving up from within a callback comes after the step", give_up_within },
    { "a close before READY changes nothing", close_too_early },
    { "of several failures the first is the session's", first_failure },
};

UNIT_SUITE("state", tests)
