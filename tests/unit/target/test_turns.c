/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * However much a peer sends, one call of the server takes a bounded part of it:
 * the thread that calls has others to serve.
 */
#include "tests/unit/support/hostile.h"
#include "tests/unit/support/lone.h"
#include "tests/unit/support/unit.h"

#define REQUESTS 600u
#define PINGS    500u

/* ---- Requests ---------------------------------------------------------- */

static struct rdisk_request requests[REQUESTS];
static struct iovec iovs[REQUESTS];
static unsigned int completed;

static void complete(struct rdisk_request *request, int result)
{
    CHECK_EQUAL(result, 0);
    completed++;
}

static void submit_all(void)
{
    for (unsigned int i = 0; i < REQUESTS; i++) {
        iovs[i] = (struct iovec) { memory + i * SCENE_BLOCK, SCENE_BLOCK };
        requests[i] = (struct rdisk_request) {
            .op = RDISK_OP_READ,
            .length = SCENE_BLOCK,
            .iov = &iovs[i],
            .iovcnt = 1,
            .complete = complete,
        };
        CHECK_EQUAL(rdisk_queue_submit(lone_queue(), &requests[i]), 0);
    }
    rdisk_queue_kick(lone_queue());
    fake_fabric_run(scene.fabric);
}

static void requests_are_taken_in_turns(void)
{
    struct rdisk_target_cq *cq;
    struct rdisk_error err;

    completed = 0;
    scene_prepare(&scene, 1);
    scene.options.max_slots = 1024;
    lone->options.slots = REQUESTS;
    lone->options.slot_size = 4096;
    scene_serve(&scene);
    REQUIRE(scene_connect(lone));
    REQUIRE(rdisk_initiator_register(lone->session, memory, sizeof(memory),
                                     &err) == 0);
    cq = rdisk_target_queue_cq(scene.queues[0].queue);
    submit_all();
    CHECK_EQUAL(rdisk_target_cq_process(cq), 256);
    CHECK(rdisk_target_cq_more(cq));
    CHECK_EQUAL(rdisk_target_cq_poll(cq), 256);
    CHECK(rdisk_target_cq_more(cq));
    CHECK_EQUAL(rdisk_target_cq_process(cq), REQUESTS - 512);
    CHECK(!rdisk_target_cq_more(cq));
    scene_pump(&scene);
    CHECK_EQUAL(completed, REQUESTS);
    lone_end_registered();
}

/* ---- Control messages -------------------------------------------------- */

static const struct rdisk_verbs *plain;
static unsigned int pings;

/* Whenever the server looks, the client has sent another one. */
static int poll_beside(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
    struct ibv_wc mine;

    if (pings < PINGS) {
        pings++;
        fake_fabric_run(hostile_scene.fabric);
        while (raw_poll(&control, &mine)) {
            if (mine.wr_id & RAW_RECV) {
                raw_receive(&control, (uint32_t)mine.wr_id, 512);
            }
        }
        raw_send(&control, HOSTILE_SAY, sizeof(struct rdisk_wire_ping));
        fake_fabric_run(hostile_scene.fabric);
    }
    return plain->poll_cq(cq, count, wc);
}

static void messages_are_taken_in_turns(void)
{
    struct rdisk_verbs beside;
    struct rdisk_wire_ping *ping;

    hostile_begin(1);
    hostile_open_volume();
    plain = hostile_scene.env.verbs;
    beside = *plain;
    beside.poll_cq = poll_beside;
    ping = hostile_message(RDISK_MSG_PING, sizeof(*ping));
    ping->message.epoch = htole64(5);
    raw_send(&control, HOSTILE_SAY, sizeof(*ping));
    fake_fabric_run(hostile_scene.fabric);
    pings = 0;
    hostile_scene.env.verbs = &beside;
    rdisk_target_process(hostile_scene.target);
    hostile_scene.env.verbs = plain;
    CHECK(pings < 100);
    /* What it has left is due at once. */
    CHECK(rdisk_target_deadline(hostile_scene.target) <=
          fake_fabric_now(hostile_scene.fabric));
    scene_pump(&hostile_scene);
    hostile_end();
}

static const struct unit_test tests[] = {
    { "a turn of a completion queue takes a bounded number of requests",
      requests_are_taken_in_turns },
    { "a turn of the server takes a bounded number of messages",
      messages_are_taken_in_turns },
};

UNIT_SUITE("turns", tests)
