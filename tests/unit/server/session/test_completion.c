/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A completion queue on a reactor's ring, while its queues come and go. The
 * fake device is the reactor's thread's, but at a test's begin and end.
 */
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/support/scene.h"
#include "server/session/cq_watch.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *const one = &scene.clients[0];
static struct scene_client *const two = &scene.clients[1];
static uint8_t buffer[4096] __attribute__((aligned(4096)));

static struct worker worker;
static struct mailbox home;
static struct queue *queues[2]; /* one's and two's */
static unsigned int left[2];    /* times each has left */

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
    reactor_send(worker.reactor, &job.message);
    while (sem_wait(&job.done) < 0) {
        /* interrupted */
    }
    sem_destroy(&job.done);
}

static void join(unsigned int i)
{
    queues[i]->completion = completion_join(queues[i]);
}

static void leave(unsigned int i)
{
    completion_leave(queues[i]->completion, queues[i]);
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

/* Answered at the end, when the test's own thread serves everybody. */
static struct scene_io ios[8];
static unsigned int asked;

/* The completion queue has something to tell. */
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
    watched = worker.completions != NULL;
}

/* ---- Outside ---------------------------------------------------------- */

static void queue_left(struct queue *queue)
{
    for (unsigned int i = 0; i < 2; i++) {
        left[i] += queues[i] == queue;
    }
}

static struct queue *queue_of(unsigned int i)
{
    struct queue *queue = calloc(1, sizeof(*queue));

    REQUIRE(queue != NULL);
    queue->target = scene.queues[i].queue;
    queue->worker = &worker;
    queue->home = &home;
    queue->left = queue_left;
    queue->spare = completion_new();
    queue->state = QUEUE_RUNNING;
    REQUIRE(queue->spare != NULL);
    worker.queues++;
    left[i] = 0;
    return queue;
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
    memset(&worker, 0, sizeof(worker));
    REQUIRE(mailbox_init(&home) == 0);
    worker.reactor = reactor_create(0, -1, 0, NULL);
    REQUIRE(worker.reactor != NULL);
    for (unsigned int i = 0; i < 2; i++) {
        queues[i] = queue_of(i);
    }
}

static void end(void)
{
    reactor_destroy(worker.reactor);
    mailbox_destroy(&home);
    for (unsigned int i = 0; i < 2; i++) {
        queue_free(queues[i]);
    }
    CHECK_EQUAL(worker.queues, 0);
    scene_pump(&scene);
    for (unsigned int i = 0; i < asked; i++) {
        CHECK_EQUAL(ios[i].completed, 1);
    }
    scene_end(&scene);
}

/* Once, in bounded time. */
static void has_left(unsigned int i)
{
    for (unsigned int n = 0; n < 5000 && !left[i]; n++) {
        mailbox_run(&home);
        usleep(1000);
    }
    CHECK_EQUAL(left[i], 1);
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
    CHECK(queues[0]->completion == queues[1]->completion);
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
        CHECK(queues[1]->spare != NULL);
        CHECK(queues[0]->completion == queues[1]->completion);
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
        /* Nothing of the first one may be left to hear of this. */
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

UNIT_SUITE("server-completion", tests)
