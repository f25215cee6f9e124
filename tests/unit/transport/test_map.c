/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTENTS and COPY, from a client to its server and back. */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct scene_io io;
static struct rdisk_extent extents[RDISK_EXTENTS_MAX];

static void begin(bool maps)
{
    scene_prepare(&scene, 1);
    scene.maps = maps;
    scene_serve(&scene);
    REQUIRE(scene_connect(client));
}

static int ask(uint64_t offset, uint64_t length, unsigned int room)
{
    io.request = (struct rdisk_request) {
        .op = RDISK_OP_EXTENTS,
        .offset = offset,
        .length = length,
        .extents = extents,
        .extent_count = room,
    };
    return scene_do_request(client, &io);
}

static int copy(uint64_t from, uint64_t to, uint32_t length)
{
    io.request = (struct rdisk_request) {
        .op = RDISK_OP_COPY,
        .offset = to,
        .length = length,
        .source = from,
    };
    return scene_do_request(client, &io);
}

static void offered(void)
{
    begin(true);
    CHECK(rdisk_initiator_info(client->session)->extents);
    CHECK(rdisk_initiator_info(client->session)->copy);
    scene_end(&scene);
    begin(false);
    CHECK(!rdisk_initiator_info(client->session)->extents);
    CHECK(!rdisk_initiator_info(client->session)->copy);
    CHECK_EQUAL(ask(0, 4096, 1), -ENOTSUP);
    CHECK_EQUAL(copy(0, 4096, 4096), -ENOTSUP);
    CHECK_EQUAL(scene.requests, 0);
    scene_end(&scene);
}

/* ---- Extents ----------------------------------------------------------- */

static void tells_what_is_there(void)
{
    begin(true);
    scene_pattern(scene.disk + 8192, 4096, 3);
    scene_pattern(scene.disk + 65536, 512, 3);
    CHECK_EQUAL(ask(0, SCENE_SIZE, RDISK_EXTENTS_MAX), 0);
    CHECK_EQUAL(io.request.extent_count, 5);
    CHECK_EQUAL(extents[0].length, 8192);
    CHECK_EQUAL(extents[0].flags, RDISK_EXTENT_HOLE | RDISK_EXTENT_ZERO);
    CHECK_EQUAL(extents[1].length, 4096);
    CHECK_EQUAL(extents[1].flags, 0);
    CHECK_EQUAL(extents[3].length, 512);
    CHECK_EQUAL(extents[4].length, SCENE_SIZE - 65536 - 512);
    scene_end(&scene);
}

static void room_bounds_the_answer(void)
{
    begin(true);
    scene_pattern(scene.disk + 8192, 4096, 3);
    extents[1].length = 77;
    CHECK_EQUAL(ask(0, SCENE_SIZE, 1), 0);
    CHECK_EQUAL(io.request.extent_count, 1);
    CHECK_EQUAL(extents[0].length, 8192);
    CHECK_EQUAL(extents[1].length, 77);
    CHECK_EQUAL(ask(8192, 1024, 2), 0);
    CHECK_EQUAL(io.request.extent_count, 1);
    CHECK_EQUAL(extents[0].length, 1024);
    scene_end(&scene);
}

static void begin_vast(void)
{
    begin(true);
    scene.vast = true;
    scene.size = 1ull << 50;
    for (unsigned int i = 0; i < SCENE_HOLDERS; i++) {
        if (scene.holders[i].session) {
            rdisk_target_session_resize(scene.holders[i].session, scene.size);
        }
    }
    scene_pump(&scene);
}

static void any_length(void)
{
    begin_vast();
    CHECK_EQUAL(ask(0, 1ull << 50, 1), 0);
    CHECK_EQUAL(extents[0].length, 1ull << 50);
    CHECK_EQUAL(ask(1ull << 40, 1ull << 49, 4), 0);
    CHECK_EQUAL(extents[0].length, 1ull << 49);
    CHECK_EQUAL(scene.requests, 2);
    CHECK_EQUAL(ask(1ull << 40, 1ull << 50, 4), -EINVAL);
    scene_end(&scene);
}

/* A client that does not offer the feature is a client that lacks it. */
static int (*post_send)(struct ibv_qp *qp, struct ibv_send_wr *wr,
                        struct ibv_send_wr **bad);

static int post_send_older(struct ibv_qp *qp, struct ibv_send_wr *wr,
                           struct ibv_send_wr **bad)
{
    struct rdisk_wire_hello *hello;

    if (wr->opcode == IBV_WR_SEND) {
        hello = (struct rdisk_wire_hello *)(uintptr_t)wr->sg_list[0].addr;
        if (le16toh(hello->message.type) == RDISK_MSG_HELLO) {
            hello->features &= ~htole64(RDISK_FEATURE_LONG_EXTENTS);
        }
    }
    return post_send(qp, wr, bad);
}

static void older_peer(void)
{
    static struct rdisk_verbs verbs;

    scene_prepare(&scene, 1);
    scene.maps = true;
    scene_serve(&scene);
    verbs = *client->env.verbs;
    post_send = verbs.post_send;
    verbs.post_send = post_send_older;
    client->env.verbs = &verbs;
    REQUIRE(scene_connect(client));
    scene.vast = true;
    rdisk_target_session_resize(scene.holders[0].session, 1ull << 50);
    scene_pump(&scene);
    CHECK_EQUAL(ask(0, 1ull << 50, 1), 0);
    CHECK_EQUAL(extents[0].length, RDISK_RANGE_MAX);
    CHECK_EQUAL(ask(4096, 8192, 1), 0);
    CHECK_EQUAL(extents[0].length, 8192);
    scene_end(&scene);
}

/* What was asked of a server that has the feature goes to one that has not. */
static void older_after_a_loss(void)
{
    static struct rdisk_verbs verbs;

    scene_prepare(&scene, 1);
    scene.maps = true;
    client->options.reconnect_delay_ms = 60000;
    verbs = *client->env.verbs;
    post_send = verbs.post_send;
    client->env.verbs = &verbs;
    scene_serve(&scene);
    REQUIRE(scene_connect(client));
    scene.vast = true;
    rdisk_target_session_resize(scene.holders[0].session, 1ull << 50);
    scene.size = 1ull << 50;
    scene_pump(&scene);
    scene.park = true;
    io.request = (struct rdisk_request) {
        .op = RDISK_OP_EXTENTS,
        .length = 1ull << 50,
        .extents = extents,
        .extent_count = 1,
    };
    CHECK_EQUAL(scene_start_request(client, &io), 0);
    scene_pump(&scene);
    CHECK_EQUAL(scene.parked_count, 1);
    verbs.post_send = post_send_older;
    scene.park = false;
    fake_qp_break(fake_host_qp(client->host, 0));
    scene_pump(&scene);
    scene_unpark(&scene, 1);
    scene_advance(&scene, 2000);
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, 0);
    CHECK_EQUAL(extents[0].length, RDISK_RANGE_MAX);
    scene_end(&scene);
}

static void request_is_checked(void)
{
    begin(true);
    CHECK_EQUAL(ask(0, 4096, 0), -EINVAL);
    CHECK_EQUAL(ask(0, 4096, RDISK_EXTENTS_MAX + 1), -EINVAL);
    CHECK_EQUAL(ask(100, 4096, 1), -EINVAL);
    CHECK_EQUAL(ask(SCENE_SIZE, 512, 1), -EINVAL);
    io.request.extents = NULL;
    CHECK_EQUAL(scene_do_request(client, &io), -EINVAL);
    CHECK_EQUAL(scene.requests, 0);
    scene_end(&scene);
}

static void an_error_leaves_the_list_alone(void)
{
    begin(true);
    extents[0].length = 77;
    scene.fail_with = RDISK_STATUS_IO_ERROR;
    CHECK_EQUAL(ask(0, 4096, 3), -EIO);
    CHECK_EQUAL(io.request.extent_count, 3);
    CHECK_EQUAL(extents[0].length, 77);
    scene_end(&scene);
}

/* What the list says, a client must not believe. */
static void forge_too_long(struct rdisk_wire_extent *list)
{
    list[0].length = htole64(SCENE_SIZE);
}

static void forge_nothing(struct rdisk_wire_extent *list)
{
}

static void forge_flags(struct rdisk_wire_extent *list)
{
    list[0].length = htole64(512);
    list[0].flags = htole32(0x80);
}

static void bad_list_ends_connection(void)
{
    static void (*const forges[])(struct rdisk_wire_extent * list) = {
        forge_too_long,
        forge_nothing,
        forge_flags,
    };

    for (unsigned int i = 0; i < 3; i++) {
        begin(true);
        scene.forge = forges[i];
        extents[0].length = 77;
        CHECK_EQUAL(ask(0, 4096, 3), -EPROTO);
        CHECK_EQUAL(extents[0].length, 77);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
        scene_end(&scene);
    }
}

/* A lost connection does not change what was asked. */
static void asked_again_after_a_loss(void)
{
    scene_prepare(&scene, 4);
    scene.maps = true;
    scene.park = true;
    client->options.reconnect_delay_ms = 60000;
    scene_serve(&scene);
    REQUIRE(scene_connect(client));
    scene_pattern(scene.disk + 4096, 4096, 3);
    io.client = client;
    io.request = (struct rdisk_request) {
        .op = RDISK_OP_EXTENTS,
        .length = 65536,
        .extents = extents,
        .extent_count = 7,
    };
    CHECK_EQUAL(scene_start_request(client, &io), 0);
    fake_link_cut(client->host, scene.server_host, true);
    scene_advance(&scene, 20000);
    fake_link_cut(client->host, scene.server_host, false);
    scene.park = false;
    scene_unpark(&scene, scene.parked_count);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, 0);
    CHECK_EQUAL(io.request.extent_count, 3);
    CHECK_EQUAL(extents[1].length, 4096);
    scene_end(&scene);
}

/* ---- Copy -------------------------------------------------------------- */

static void copies(void)
{
    begin(true);
    scene_pattern(scene.disk, 8192, 5);
    CHECK_EQUAL(copy(0, 65536, 8192), 0);
    CHECK(scene_is_pattern(scene.disk + 65536, 8192, 5));
    CHECK_EQUAL(scene.disk[65536 + 8192], 0);
    CHECK_EQUAL(copy(65536, 8192, 512), 0);
    CHECK(scene_is_pattern(scene.disk + 8192, 512, 5));
    scene_end(&scene);
}

static void copy_is_checked(void)
{
    begin(true);
    CHECK_EQUAL(copy(0, 4096, 8192), -EINVAL);
    CHECK_EQUAL(copy(4096, 0, 8192), -EINVAL);
    CHECK_EQUAL(copy(100, 8192, 512), -EINVAL);
    CHECK_EQUAL(copy(SCENE_SIZE - 512, 0, 1024), -EINVAL);
    CHECK_EQUAL(copy(0, SCENE_SIZE - 512, 1024), -EINVAL);
    CHECK_EQUAL(copy(0, 8192, 0), -EINVAL);
    CHECK_EQUAL(copy(0, 1 << 29, RDISK_COPY_MAX + 512), -EINVAL);
    CHECK_EQUAL(scene.requests, 0);
    CHECK_EQUAL(copy(0, 4096, 4096), 0);
    scene_end(&scene);
}

static void counted(void)
{
    struct rdisk_queue_counters counters = { 0 };

    begin(true);
    CHECK_EQUAL(copy(0, 4096, 4096), 0);
    CHECK_EQUAL(ask(0, 4096, 9), 0);
    CHECK_EQUAL(ask(0, 4096, 9), 0);
    rdisk_queue_counters(rdisk_initiator_queue(client->session, 0), &counters);
    CHECK_EQUAL(counters.ops.count[RDISK_OP_COPY], 1);
    CHECK_EQUAL(counters.ops.count[RDISK_OP_EXTENTS], 2);
    CHECK_EQUAL(counters.work_requests, 3);
    CHECK_EQUAL(counters.copied_bytes, 0);
    CHECK_EQUAL(counters.bounced, 0);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "offered only when the volume has them", offered },
    { "extents distinguish data from holes", tells_what_is_there },
    { "no more entries come than there is room for", room_bounds_the_answer },
    { "one answer may cover a volume of any size", any_length },
    { "an older peer is asked for 1 GiB at a time", older_peer },
    { "so is an older server that follows a newer one", older_after_a_loss },
    { "the request is checked before it is sent", request_is_checked },
    { "an error leaves the list alone", an_error_leaves_the_list_alone },
    { "a list that breaks the rules ends the connection",
      bad_list_ends_connection },
    { "extents are asked for again after a loss", asked_again_after_a_loss },
    { "a copy moves bytes inside the volume", copies },
    { "a copy is checked before it is sent", copy_is_checked },
    { "they are counted, and cost one work request each", counted },
};

UNIT_SUITE("map", tests)
