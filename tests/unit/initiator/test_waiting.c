/* SPDX-License-Identifier: BSD-3-Clause */
/* What waits for what: arming, deadlines, and no look at the clock between. */
#include <errno.h>
#include <poll.h>
#include <time.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static uint8_t buffer[8192] __attribute__((aligned(4096)));

static struct rdisk_queue *queue(void)
{
    return rdisk_initiator_queue(client->session, 0);
}

/* Until it is at the server, and nothing else happens. */
static void kick(void)
{
    rdisk_queue_kick(queue());
    fake_fabric_run(scene.fabric);
}

/* Until the answer is at the client. */
static unsigned int serve(void)
{
    unsigned int requests = rdisk_target_cq_process(
        rdisk_target_queue_cq(scene.queues[0].queue));

    fake_fabric_run(scene.fabric);
    return requests;
}

/* ---- The device, watched while it is armed ----------------------------- */

static struct rdisk_verbs verbs;
static int (*req_notify_cq)(struct ibv_cq *, int);
static struct fake_host *host; /* whose device it is */
static bool watched;
static uint64_t sent;        /* before it was armed */
static struct scene_io late; /* submitted just before that, or not */

static int watch_arming(struct ibv_cq *cq, int solicited_only)
{
    if (watched) {
        watched = false;
        sent = fake_calls(host, FAKE_POST_SEND);
        if (late.client) {
            kick();
        }
        if (late.client && host == client->host) {
            serve();
        }
    }
    return req_notify_cq(cq, solicited_only);
}

static void begin(bool at_client)
{
    struct rdisk_env *env = at_client ? &client->env : &scene.env;

    scene_prepare(&scene, 1);
    host = at_client ? client->host : scene.server_host;
    verbs = *env->verbs;
    req_notify_cq = verbs.req_notify_cq;
    verbs.req_notify_cq = watch_arming;
    env->verbs = &verbs;
    watched = false;
    late = (struct scene_io) { 0 };
    scene_serve(&scene);
    REQUIRE(scene_connect(client));
}

static void submit(struct scene_io *io, unsigned int place)
{
    REQUIRE(scene_submit(io, client, 0, RDISK_OP_READ, 0, buffer + place * 4096,
                         4096) == 0);
}

static void server_answers_first(void)
{
    struct scene_io io = { 0 };
    uint64_t before;

    begin(false);
    submit(&io, 0);
    kick();
    before = fake_calls(host, FAKE_POST_SEND);
    watched = true;
    CHECK_EQUAL(serve(), 1);
    CHECK(!watched);
    CHECK_EQUAL(sent, before + 1);
    scene_pump(&scene);
    CHECK_EQUAL(io.completed, 1);
    scene_end(&scene);
}

static void server_looks_once_more(void)
{
    struct scene_io io = { 0 };

    begin(false);
    submit(&io, 0);
    kick();
    submit(&late, 1);
    watched = true;
    /* The second comes when the first look is over, and has no event. */
    CHECK_EQUAL(serve(), 2);
    scene_pump(&scene);
    CHECK_EQUAL(io.completed + late.completed, 2);
    scene_end(&scene);
}

static void client_looks_once_more(void)
{
    struct scene_io io = { 0 };

    begin(true);
    submit(&io, 0);
    kick();
    serve();
    submit(&late, 1);
    watched = true;
    CHECK_EQUAL(rdisk_queue_process(queue()), 2);
    CHECK(!watched);
    CHECK_EQUAL(io.completed + late.completed, 2);
    scene_end(&scene);
}

/* ---- The clock --------------------------------------------------------- */

static uint64_t (*now)(void *);
static unsigned int looks;

static uint64_t counted_now(void *opaque)
{
    looks++;
    return now(opaque);
}

static void client_does_not_look_at_the_clock(void)
{
    struct scene_io io = { 0 };

    scene_prepare(&scene, 1);
    now = client->env.now;
    client->env.now = counted_now;
    scene_serve(&scene);
    REQUIRE(scene_connect(client));
    looks = 0;
    submit(&io, 0);
    kick();
    serve();
    CHECK_EQUAL(rdisk_queue_process(queue()), 1);
    CHECK_EQUAL(looks, 0);
    scene_end(&scene);
}

/* A slot's next request does not inherit the age of the one before. */
static void each_request_has_its_own_age(void)
{
    struct scene_io io = { 0 };

    scene_prepare(&scene, 1);
    client->options.request_timeout_ms = 4000;
    client->options.heartbeat_ms = 0;
    scene_serve(&scene);
    REQUIRE(scene_connect(client));
    for (unsigned int i = 0; i < 6; i++) {
        scene.park = true;
        submit(&io, 0);
        kick();
        scene_advance(&scene, 3000);
        scene.park = false;
        scene_unpark(&scene, scene.parked_count);
        scene_pump(&scene);
        CHECK_EQUAL(io.completed, 1);
        CHECK_EQUAL(io.result, 0);
    }
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

/* Each clock outlasts the stopwatch, or is outlasted by it. */
static void stopwatch_and_clock_agree(void)
{
    const struct rdisk_env *env = &rdisk_env_system;
    const struct timespec rest = { .tv_nsec = 20 * RDISK_MSEC };
    uint64_t outer, inner, took;

    rdisk_stopwatch(env);
    outer = rdisk_now(env);
    took = rdisk_stopwatch(env);
    inner = rdisk_now(env);
    nanosleep(&rest, NULL);
    inner = rdisk_now(env) - inner;
    took = rdisk_took(took, rdisk_stopwatch(env));
    outer = rdisk_now(env) - outer;
    CHECK(took >= inner - inner / 20);
    CHECK(took <= outer + outer / 20);
    CHECK_EQUAL(rdisk_took(2, 1), 0);
}

/* ---- The session's descriptor ------------------------------------------ */

static bool readable_within(int milliseconds)
{
    struct pollfd pfd = {
        .fd = rdisk_initiator_fd(client->session),
        .events = POLLIN,
    };

    return poll(&pfd, 1, milliseconds) > 0;
}

static void deadline_makes_the_descriptor_readable(void)
{
    scene_begin(&scene, 1);
    client->env.now = rdisk_env_system.now;
    client->env.clock = CLOCK_MONOTONIC;
    client->options.host = "10.0.0.77";
    client->options.open_timeout_ms = 20;
    scene_start(client);
    /* Virtual time stands still, so nothing else can happen. */
    CHECK(!readable_within(0));
    REQUIRE(readable_within(10000));
    rdisk_initiator_process(client->session);
    scene_failed(client, -ETIMEDOUT, "open-timeout=0.02");
    CHECK(!readable_within(0));
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "a server answers before it arms", server_answers_first },
    { "a server finds what comes while it arms", server_looks_once_more },
    { "a client finds what comes while it arms", client_looks_once_more },
    { "a request does not make the client look at the clock",
      client_does_not_look_at_the_clock },
    { "a request's age is its own, not its slot's",
      each_request_has_its_own_age },
    { "the stopwatch agrees with the clock", stopwatch_and_clock_agree },
    { "a session's descriptor reports its deadline",
      deadline_makes_the_descriptor_readable },
};

UNIT_SUITE("waiting", tests)
