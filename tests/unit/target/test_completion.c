/* SPDX-License-Identifier: BSD-3-Clause */
/* The completion queues that the queues of a server's reactor share. */
#include <errno.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *const one = &scene.clients[0];
static struct scene_client *const two = &scene.clients[1];
static struct scene_client *const three = &scene.clients[2];
static uint8_t buffer[4096] __attribute__((aligned(4096)));

/* With so few slots two queues fit into a completion queue. */
static void begin(void)
{
    scene_prepare(&scene, 1);
    scene.options.max_slots = 8;
    scene.options.max_queues = 1;
    for (unsigned int i = 0; i < SCENE_CLIENTS; i++) {
        scene.clients[i].options.shared = true;
    }
    scene_serve(&scene);
    REQUIRE(scene.target != NULL);
    REQUIRE(scene_connect(one));
    REQUIRE(scene_connect(two));
}

static struct rdisk_target_cq *cq_of(unsigned int queue)
{
    REQUIRE(scene.queues[queue].queue != NULL);
    return rdisk_target_queue_cq(scene.queues[queue].queue);
}

static bool reads(struct scene_client *client)
{
    return scene_do(client, RDISK_OP_READ, 0, buffer, sizeof(buffer)) == 0;
}

static void queues_share_one(void)
{
    begin();
    CHECK(cq_of(0) == cq_of(1));
    scene_end(&scene);
}

static void a_full_one_is_followed_by_another(void)
{
    begin();
    REQUIRE(scene_connect(three));
    CHECK(cq_of(2) != cq_of(0));
    CHECK(reads(one) && reads(two) && reads(three));
    scene_end(&scene);
}

static void room_is_given_again(void)
{
    uint64_t before;

    begin();
    scene_disconnect(one);
    scene_pump(&scene);
    before = fake_calls(scene.server_host, FAKE_CREATE_CQ);
    REQUIRE(scene_connect(three));
    /* Its control queue pair has one of its own. */
    CHECK_EQUAL(fake_calls(scene.server_host, FAKE_CREATE_CQ), before + 1);
    CHECK(reads(two) && reads(three));
    scene_end(&scene);
}

static void requests_of_all_take_one_event(void)
{
    struct scene_io ios[2] = { 0 };
    uint64_t armed;

    begin();
    CHECK(reads(one) && reads(two));
    REQUIRE(scene_submit(&ios[0], one, 0, RDISK_OP_READ, 0, buffer, 512) == 0);
    REQUIRE(scene_submit(&ios[1], two, 0, RDISK_OP_READ, 0, buffer + 512,
                         512) == 0);
    rdisk_queue_kick(rdisk_initiator_queue(one->session, 0));
    rdisk_queue_kick(rdisk_initiator_queue(two->session, 0));
    fake_fabric_run(scene.fabric);
    armed = fake_calls(scene.server_host, FAKE_REQ_NOTIFY_CQ);
    CHECK_EQUAL(rdisk_target_cq_process(cq_of(0)), 2);
    CHECK_EQUAL(fake_calls(scene.server_host, FAKE_REQ_NOTIFY_CQ), armed + 1);
    scene_pump(&scene);
    CHECK_EQUAL(ios[0].completed + ios[1].completed, 2);
    scene_end(&scene);
}

static void who_dies_leaves_the_others_alone(void)
{
    for (unsigned int seed = 0; seed < 20; seed++) {
        begin();
        fake_qp_break(fake_host_qp(two->host, seed % 2));
        CHECK(reads(one));
        scene_advance(&scene, 1000);
        CHECK(reads(one));
        REQUIRE(scene_connect(three));
        CHECK(reads(one) && reads(three));
        scene_end(&scene);
    }
}

static void one_that_fails_takes_all_its_queues(void)
{
    begin();
    REQUIRE(scene_connect(three));
    fake_fail(scene.server_host, FAKE_POLL_CQ, 1, EINVAL);
    rdisk_target_cq_process(cq_of(0));
    scene_advance(&scene, 1000);
    CHECK_EQUAL(one->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(two->state, RDISK_INITIATOR_FAILED);
    CHECK(reads(three));
    scene_drop(one);
    REQUIRE(scene_connect(one));
    CHECK(reads(one));
    scene_end(&scene);
}

/* ---- Breaking while the reactor posts ---------------------------------- */

static int (*post_recv)(struct ibv_qp *, struct ibv_recv_wr *,
                        struct ibv_recv_wr **);
static bool cut;

/* The control thread cuts the session just before the device is told. */
static int post_recv_cut(struct ibv_qp *qp, struct ibv_recv_wr *wr,
                         struct ibv_recv_wr **bad)
{
    if (cut) {
        cut = false;
        rdisk_target_session_fence(scene.holders[0].session);
        /* What was posted before comes back in the meantime. */
        fake_fabric_run(scene.fabric);
    }
    return post_recv(qp, wr, bad);
}

static void receives_that_come_too_late_are_flushed(void)
{
    struct rdisk_verbs verbs;
    struct scene_io io = { 0 };

    scene_prepare(&scene, 1);
    verbs = *scene.env.verbs;
    post_recv = verbs.post_recv;
    verbs.post_recv = post_recv_cut;
    scene.env.verbs = &verbs;
    scene_serve(&scene);
    REQUIRE(scene_connect(one));
    REQUIRE(scene_submit(&io, one, 0, RDISK_OP_READ, 0, buffer, 4096) == 0);
    rdisk_queue_kick(rdisk_initiator_queue(one->session, 0));
    fake_fabric_run(scene.fabric);
    cut = true;
    rdisk_target_cq_process(cq_of(0));
    CHECK(!cut);
    scene_advance(&scene, 1000);
    /* Otherwise the server would wait for them indefinitely. */
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_end(&scene);
}

/* Its owner has found that another server has the volume. */
static void broken_queue_answers_nothing(void)
{
    static struct scene_io io;

    begin();
    scene.park = true;
    REQUIRE(scene_submit(&io, one, 0, RDISK_OP_WRITE, 0, buffer, 4096) == 0);
    rdisk_queue_kick(rdisk_initiator_queue(one->session, 0));
    scene_pump(&scene);
    REQUIRE(scene.parked_count == 1);
    rdisk_target_queue_break(scene.queues[0].queue);
    scene.park = false;
    scene_unpark(&scene, 1);
    scene_advance(&scene, 1000);
    CHECK_EQUAL(io.completed, 1);
    CHECK(io.result < 0);
    CHECK_EQUAL(one->state, RDISK_INITIATOR_FAILED);
    CHECK(reads(two));
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "queues of one reactor share a completion queue", queues_share_one },
    { "a full completion queue is followed by another",
      a_full_one_is_followed_by_another },
    { "the room of a queue that has gone is given again", room_is_given_again },
    { "requests of all queues take one event and one arming",
      requests_of_all_take_one_event },
    { "a client that dies leaves the others of its completion queue alone",
      who_dies_leaves_the_others_alone },
    { "a completion queue that fails takes its queues and no others",
      one_that_fails_takes_all_its_queues },
    { "receives posted while another thread breaks the queue come back",
      receives_that_come_too_late_are_flushed },
    { "a queue that its owner breaks answers nothing, and ends its session",
      broken_queue_answers_nothing },
};

UNIT_SUITE("completion", tests)
