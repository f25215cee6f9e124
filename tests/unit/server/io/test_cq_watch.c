/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A completion queue on a reactor's ring, while its queues come and go. The
 * fake device is the reactor's thread's, but at a test's begin and end.
 */
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/container_of.h"
#include "server/io/cq_watch.h"
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *const one = &scene.clients[0];
static struct scene_client *const two = &scene.clients[1];
static uint8_t buffer[4096] __attribute__((aligned(4096)));

static struct reactor *reactor;
static struct cq_watch *watches;
static struct cq_user users[2]; /* one's and two's */
static atomic_uint left[2];     /* times each has left */

/* ---- In the reactor's thread ------------------------------------------ */

struct job {
    struct message message;
    void (*fn)(void);
    sem_t done;
};

static void job_run(struct message *message)
{
    struct job *job = (struct job *)message;

    job->fn();
    sem_post(&job->done);
}

static void on_reactor(void (*fn)(void))
{
    struct job job = { .message.run = job_run, .fn = fn };

    sem_init(&job.done, 0, 0);
    reactor_send(reactor, &job.message);
    while (sem_wait(&job.done) < 0) {
        /* interrupted */
    }
    sem_destroy(&job.done);
}

static void join(unsigned int i)
{
    cq_watch_join(&watches, reactor,
                  rdisk_target_queue_cq(scene.queues[i].queue), &users[i]);
}

static void leave(unsigned int i)
{
    cq_watch_leave(&users[i]);
}

static void first_joins(void)
{
    join(0);
}

static void second_joins(void)
{
    join(1);
}

static void first_leaves(void)
{
    leave(0);
}

static void second_leaves(void)
{
    leave(1);
}

static void first_leaves_second_joins(void)
{
    leave(0);
    join(1);
}

/* Answered at the end, when the test's own thread serves all. */
static struct scene_io ios[8];
static unsigned int asked;

/* The completion queue gets a completion. */
static void ask(void)
{
    CHECK_EQUAL(scene_submit(&ios[asked++], two, 0, RDISK_OP_READ, 0, buffer,
                             512),
                0);
    rdisk_queue_kick(rdisk_initiator_queue(two->session, 0));
    fake_fabric_run(scene.fabric);
}

static void ask_and_leave(void)
{
    ask();
    leave(0);
}

static unsigned int heard;

static void hear(void)
{
    heard = scene.requests;
}

static bool watched;

static void look(void)
{
    watched = watches != NULL;
}

/* ---- Outside ---------------------------------------------------------- */

static void user_left(struct cq_user *user)
{
    atomic_fetch_add(&left[user - users], 1);
}

static void prepare(unsigned int i)
{
    users[i] = (struct cq_user) { .spare = cq_watch_new(), .left = user_left };
    REQUIRE(users[i].spare != NULL);
    atomic_store(&left[i], 0);
}

/* Two queues that share a completion queue, and a reactor for it. */
static void begin(void)
{
    scene_prepare(&scene, 1);
    scene.options.max_slots = 8;
    scene.options.max_queues = 1;
    one->options.shared = two->options.shared = true;
    scene_serve(&scene);
    REQUIRE(scene_connect(one));
    REQUIRE(scene_connect(two));
    REQUIRE(rdisk_target_queue_cq(scene.queues[0].queue) ==
            rdisk_target_queue_cq(scene.queues[1].queue));
    memset(ios, 0, sizeof(ios));
    asked = heard = 0;
    watches = NULL;
    reactor = reactor_create(0, -1, 0, NULL);
    REQUIRE(reactor != NULL);
    for (unsigned int i = 0; i < 2; i++) {
        prepare(i);
    }
}

static void end(void)
{
    reactor_destroy(reactor);
    for (unsigned int i = 0; i < 2; i++) {
        cq_watch_free(users[i].spare);
    }
    scene_pump(&scene);
    for (unsigned int i = 0; i < asked; i++) {
        CHECK_EQUAL(ios[i].completed, 1);
    }
    scene_end(&scene);
}

/* Once, in bounded time. */
static void has_left(unsigned int i)
{
    for (unsigned int n = 0; n < 5000 && !atomic_load(&left[i]); n++) {
        usleep(1000);
    }
    CHECK_EQUAL(atomic_load(&left[i]), 1);
}

static bool is_watched(void)
{
    on_reactor(look);
    return watched;
}

/* A request that comes now is taken, with all before it. */
static bool is_heard(void)
{
    on_reactor(ask);
    for (unsigned int n = 0; n < 5000 && heard != asked; n++) {
        usleep(1000);
        on_reactor(hear);
    }
    return heard == asked;
}

static void test_until_the_last(void)
{
    begin();
    on_reactor(first_joins);
    on_reactor(second_joins);
    CHECK(users[0].watch == users[1].watch);
    on_reactor(first_leaves);
    has_left(0);
    CHECK(is_heard());
    on_reactor(second_leaves);
    has_left(1);
    CHECK(!is_watched());
    end();
}

static void test_last_leaves_as_one_joins(void)
{
    for (unsigned int i = 0; i < 20; i++) {
        begin();
        on_reactor(first_joins);
        on_reactor(first_leaves_second_joins);
        has_left(0);
        /* What the first one made has a new owner. */
        CHECK(users[1].spare != NULL);
        CHECK(users[0].watch == users[1].watch);
        CHECK(is_heard());
        CHECK(is_heard());
        on_reactor(second_leaves);
        has_left(1);
        CHECK(!is_watched());
        end();
    }
}

/* The kernel refuses to take back a poll whose event is in flight. */
static void test_event_as_the_last_leaves(void)
{
    for (unsigned int i = 0; i < 20; i++) {
        begin();
        on_reactor(first_joins);
        on_reactor(ask_and_leave);
        has_left(0);
        CHECK(!is_watched());
        /* Nothing of the first one may be left to take this. */
        on_reactor(second_joins);
        CHECK(is_heard());
        on_reactor(second_leaves);
        has_left(1);
        end();
    }
}

static const struct unit_test tests[] = {
    { "a completion queue is watched until its last queue leaves",
      test_until_the_last },
    { "the last queue leaves while a new one joins",
      test_last_leaves_as_one_joins },
    { "the last queue leaves while an event is in flight",
      test_event_as_the_last_leaves },
};

UNIT_SUITE("server-cq-watch", tests)
