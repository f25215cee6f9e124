/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A correct peer never finds that the other side has no receive posted, even if
 * all slots are busy all the time and the owner carries requests out at once:
 * receives are posted again before the answers that the peer waits for.
 *
 * The peers work at the same time: the client is served whenever the server
 * looks for completions.
 */
#include "tests/unit/support/lone.h"
#include "tests/unit/support/unit.h"

#define REQUESTS 3000u

static struct rdisk_verbs beside;
static const struct rdisk_verbs *plain;
static bool racing, inside;
static unsigned int completed;
static struct rdisk_request requests[128];
static struct iovec iovs[128][4];

static void complete(struct rdisk_request *request, int result)
{
    CHECK_EQUAL(result, 0);
    if (++completed < REQUESTS) {
        CHECK_EQUAL(rdisk_queue_submit(lone_queue(), request), 0);
    }
}

static void client_works(void)
{
    if (racing && !inside) {
        inside = true;
        fake_fabric_run(scene.fabric);
        rdisk_queue_process(lone_queue());
        rdisk_queue_kick(lone_queue());
        fake_fabric_run(scene.fabric);
        inside = false;
    }
}

static int poll_beside(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
    client_works();
    return plain->poll_cq(cq, count, wc);
}

static void submit_reads(unsigned int slots, unsigned int pieces)
{
    for (unsigned int i = 0; i < slots; i++) {
        for (unsigned int p = 0; p < pieces; p++) {
            /* Not side by side, as a guest's pages are. */
            iovs[i][p] = (struct iovec) {
                memory + (i * 8 + 2 * p) * 4096,
                4096,
            };
        }
        requests[i] = (struct rdisk_request) {
            .op = RDISK_OP_READ,
            .length = 4096 * pieces,
            .iov = iovs[i],
            .iovcnt = pieces,
            .complete = complete,
        };
        CHECK_EQUAL(rdisk_queue_submit(lone_queue(), &requests[i]), 0);
    }
    rdisk_queue_kick(lone_queue());
    fake_fabric_run(scene.fabric);
}

static void all_find_a_receive(unsigned int slots, unsigned int pieces)
{
    struct rdisk_error err;

    completed = 0;
    scene_prepare(&scene, 1);
    plain = scene.env.verbs;
    beside = *plain;
    beside.poll_cq = poll_beside;
    scene.env.verbs = &beside;
    lone->options.slots = slots;
    scene_serve(&scene);
    REQUIRE(scene_connect(lone));
    REQUIRE(rdisk_initiator_register(lone->session, memory, sizeof(memory),
                                     &err) == 0);
    submit_reads(slots, pieces);
    racing = true;
    for (unsigned int i = 0; i < REQUESTS && completed < REQUESTS; i++) {
        rdisk_target_cq_process(rdisk_target_queue_cq(scene.queues[0].queue));
        client_works();
    }
    racing = false;
    CHECK(completed >= REQUESTS);
    CHECK_EQUAL(fake_not_ready(scene.server_host), 0);
    CHECK_EQUAL(fake_not_ready(lone->host), 0);
    scene_pump(&scene);
    lone_end_registered();
}

static void one_piece(void)
{
    all_find_a_receive(64, 1);
}

static void pieces(void)
{
    all_find_a_receive(64, 2);
}

static void many_slots(void)
{
    all_find_a_receive(128, 1);
}

static const struct unit_test tests[] = {
    { "all slots busy with reads: each message finds a receive", one_piece },
    { "reads in pieces: each message finds a receive", pieces },
    { "many slots: each message finds a receive", many_slots },
};

UNIT_SUITE("receives", tests)
