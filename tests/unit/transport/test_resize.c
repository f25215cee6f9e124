/* SPDX-License-Identifier: BSD-3-Clause */
/* RESIZE, VOLUME_CHANGED and STAT, from a client to its server and back. */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/support/call_answer.h"
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

#define LARGER  (SCENE_SIZE + 65536)
#define SMALLER (SCENE_SIZE / 2)

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct scene_client *other = &scene.clients[1];

static void begin(uint64_t seed, unsigned int reconnect_delay_ms)
{
    scene_prepare(&scene, seed);
    scene.resizable = true;
    scene.maps = true;
    client->options.reconnect_delay_ms = reconnect_delay_ms;
    client->options.shared = other->options.shared = true;
    scene_serve(&scene);
    REQUIRE(scene_connect(client));
    memset(&answer, 0, sizeof(answer));
}

static int ask(uint64_t size, unsigned int flags)
{
    return rdisk_initiator_resize(client->session, size, flags, answer_resize,
                                  NULL);
}

static void cut(bool cut)
{
    fake_link_cut(client->host, scene.server_host, cut);
}

/* ---- One client -------------------------------------------------------- */

static void offered(void)
{
    begin(1, 0);
    CHECK(rdisk_initiator_info(client->session)->resize);
    scene_end(&scene);
    scene_begin(&scene, 1);
    REQUIRE(scene_connect(client));
    CHECK(!rdisk_initiator_info(client->session)->resize);
    CHECK_EQUAL(ask(LARGER, 0), -ENOTSUP);
    CHECK_EQUAL(rdisk_initiator_stat(client->session, answer_stat, NULL),
                -ENOTSUP);
    scene_end(&scene);
}

static void grows(void)
{
    static uint8_t buffer[4096];

    begin(1, 0);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, SCENE_SIZE, buffer, 4096),
                -EINVAL);
    CHECK_EQUAL(ask(LARGER, 0), 0);
    CHECK_EQUAL(rdisk_initiator_size(client->session), SCENE_SIZE);
    scene_pump(&scene);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, 0);
    CHECK_EQUAL(scene.size, LARGER);
    CHECK_EQUAL(rdisk_initiator_size(client->session), LARGER);
    CHECK_EQUAL(rdisk_initiator_info(client->session)->size, LARGER);
    CHECK_EQUAL(client->told_sizes, 0);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, SCENE_SIZE, buffer, 4096), 0);
    scene_end(&scene);
}

static void shrinks_when_asked(void)
{
    static uint8_t buffer[4096];

    begin(1, 0);
    CHECK_EQUAL(ask(SMALLER, 0), -EINVAL);
    CHECK_EQUAL(ask(SMALLER, RDISK_RESIZE_SHRINK), 0);
    scene_pump(&scene);
    CHECK_EQUAL(answer.result, 0);
    CHECK_EQUAL(rdisk_initiator_size(client->session), SMALLER);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, SMALLER, buffer, 4096),
                -EINVAL);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, SMALLER - 4096, buffer, 4096),
                0);
    scene_end(&scene);
}

static void sizes_are_checked(void)
{
    begin(1, 0);
    CHECK_EQUAL(ask(0, RDISK_RESIZE_SHRINK), -EINVAL);
    CHECK_EQUAL(ask(LARGER + 100, 0), -EINVAL);
    CHECK_EQUAL(ask(1ull << 63, 0), -EINVAL);
    CHECK_EQUAL(ask(LARGER, 2), -EINVAL);
    CHECK_EQUAL(ask(LARGER, 0), 0);
    CHECK_EQUAL(ask(LARGER + 512, 0), -EBUSY);
    scene_pump(&scene);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(scene.resizes, 1);
    scene_end(&scene);
}

static void a_refusal_is_told(void)
{
    begin(1, 0);
    scene.fail_with = RDISK_STATUS_NO_SPACE;
    CHECK_EQUAL(ask(LARGER, 0), 0);
    scene_pump(&scene);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, -ENOSPC);
    CHECK_SAYS(answer.err.text, "the disk says no");
    CHECK_EQUAL(rdisk_initiator_size(client->session), SCENE_SIZE);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

static void readers_may_not(void)
{
    scene_prepare(&scene, 1);
    scene.resizable = true;
    client->options.read_only = true;
    scene_serve(&scene);
    REQUIRE(scene_connect(client));
    memset(&answer, 0, sizeof(answer));
    CHECK_EQUAL(ask(LARGER, 0), 0);
    scene_pump(&scene);
    CHECK_EQUAL(answer.result, -EROFS);
    CHECK_EQUAL(scene.resizes, 0);
    scene_end(&scene);
}

/* ---- Others ------------------------------------------------------------ */

static void others_are_told(void)
{
    static uint8_t buffer[4096];

    begin(1, 0);
    REQUIRE(scene_connect(other));
    CHECK_EQUAL(ask(LARGER, 0), 0);
    scene_pump(&scene);
    CHECK_EQUAL(other->told_sizes, 1);
    CHECK_EQUAL(other->told_size, LARGER);
    CHECK_EQUAL(client->told_sizes, 0);
    CHECK_EQUAL(scene_do(other, RDISK_OP_READ, SCENE_SIZE, buffer, 4096), 0);
    scene_end(&scene);
}

/* Faster than messages can go: only the last size counts. */
static void many_changes_at_once(void)
{
    begin(1, 0);
    for (unsigned int i = 1; i <= 50; i++) {
        scene_resize(&scene, SCENE_SIZE + i * 512);
    }
    scene_pump(&scene);
    CHECK(client->told_sizes < 50);
    CHECK_EQUAL(client->told_size, SCENE_SIZE + 50 * 512);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

/* ---- Lost connections -------------------------------------------------- */

static void asked_again(void)
{
    begin(3, 60000);
    cut(true);
    CHECK_EQUAL(ask(LARGER, 0), 0);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(answer.times, 0);
    cut(false);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, 0);
    CHECK_EQUAL(scene.size, LARGER);
    CHECK_EQUAL(rdisk_initiator_size(client->session), LARGER);
    CHECK_EQUAL(client->told_sizes, 0);
    scene_end(&scene);
}

/* It has been carried out, but its answer is lost. */
static void a_lost_answer(uint64_t size, unsigned int flags)
{
    begin(3, 60000);
    CHECK_EQUAL(ask(size, flags), 0);
    scene_resize(&scene, scene.size); /* nothing, but a message more */
    cut(true);
    scene.size = size;
    scene_advance(&scene, 20000);
    CHECK_EQUAL(answer.times, 0);
    cut(false);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, 0);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(rdisk_initiator_size(client->session), size);
    CHECK_EQUAL(client->told_sizes, 0);
    scene_end(&scene);
}

static void lost_answers(void)
{
    a_lost_answer(LARGER, 0);
    a_lost_answer(SMALLER, RDISK_RESIZE_SHRINK);
}

static void larger_after_a_loss(void)
{
    begin(3, 60000);
    cut(true);
    scene_advance(&scene, 20000);
    scene.size = LARGER;
    cut(false);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(client->told_sizes, 1);
    CHECK_EQUAL(client->told_size, LARGER);
    scene_end(&scene);
}

static void no_answer_at_all(void)
{
    begin(3, 5000);
    cut(true);
    CHECK_EQUAL(ask(LARGER, 0), 0);
    scene_advance(&scene, 60000);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, -EIO);
    CHECK_SAYS(answer.err.text, "did not answer");
    CHECK_EQUAL(ask(LARGER, 0), -ENOTCONN);
    cut(false);
    scene_advance(&scene, 60000);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(scene.size, SCENE_SIZE);
    scene_end(&scene);
}

static void the_end_of_the_session(void)
{
    begin(3, 0);
    CHECK_EQUAL(ask(LARGER, 0), 0);
    scene_drop(client);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, -ECANCELED);
    scene_end(&scene);

    begin(3, 0);
    cut(true);
    CHECK_EQUAL(ask(LARGER, 0), 0);
    scene_advance(&scene, 60000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(answer.times, 1);
    CHECK(answer.result < 0);
    scene_end(&scene);
}

/* ---- Stat -------------------------------------------------------------- */

static void tells_what_is_allocated(void)
{
    begin(1, 0);
    CHECK_EQUAL(rdisk_initiator_stat(client->session, answer_stat, NULL), 0);
    CHECK_EQUAL(rdisk_initiator_stat(client->session, answer_stat, NULL),
                -EBUSY);
    scene_pump(&scene);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, 0);
    CHECK_EQUAL(answer.allocated, 12345);
    scene.fail_with = RDISK_STATUS_IO_ERROR;
    CHECK_EQUAL(rdisk_initiator_stat(client->session, answer_stat, NULL), 0);
    scene_pump(&scene);
    CHECK_EQUAL(answer.times, 2);
    CHECK_EQUAL(answer.result, -EIO);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

/* However long requests wait. */
static void stat_does_not_wait_for_a_lost_connection(void)
{
    begin(3, 3600000);
    cut(true);
    CHECK_EQUAL(rdisk_initiator_stat(client->session, answer_stat, NULL), 0);
    scene_advance(&scene, 60000);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, -ENOTCONN);
    CHECK_SAYS(answer.err.text, "did not answer STAT");
    CHECK_EQUAL(rdisk_initiator_stat(client->session, answer_stat, NULL),
                -ENOTCONN);
    cut(false);
    scene_advance(&scene, 60000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(rdisk_initiator_stat(client->session, answer_stat, NULL), 0);
    scene_pump(&scene);
    CHECK_EQUAL(answer.allocated, 12345);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "offered only when the owner grants it", offered },
    { "a volume grows under its client", grows },
    { "a volume shrinks only when that is asked for", shrinks_when_asked },
    { "sizes are checked before they are sent, one at a time",
      sizes_are_checked },
    { "a refusal is answer_stat, and the session goes on", a_refusal_is_told },
    { "a client that only reads may not resize", readers_may_not },
    { "the other clients are informed", others_are_told },
    { "of many changes the last is reported", many_changes_at_once },
    { "a resize is asked for again after a loss", asked_again },
    { "a lost answer changes nothing", lost_answers },
    { "a volume may come back larger", larger_after_a_loss },
    { "after reconnect-delay a resize fails", no_answer_at_all },
    { "questions end with the session", the_end_of_the_session },
    { "stat reports what is allocated", tells_what_is_allocated },
    { "stat does not wait for a lost connection",
      stat_does_not_wait_for_a_lost_connection },
};

UNIT_SUITE("resize", tests)
