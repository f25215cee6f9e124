/* SPDX-License-Identifier: BSD-3-Clause */
/* A server that lost its volatile cache says so, and a volume that was
 * replaced is not taken for the one that was lost. */
#include <errno.h>
#include <stdio.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

#define BYTES 4096u

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static uint8_t buffer[BYTES];
static char last_error[400];

static void keep_error(void *opaque, enum rdisk_log_level level,
                       const char *line)
{
    if (level == RDISK_LOG_ERROR) {
        snprintf(last_error, sizeof(last_error), "%s", line);
    }
}

static void begin(void)
{
    scene_prepare(&scene, 1);
    scene.ranges = true;
    scene.generation = 5;
    scene.cache[0] = 1;
    scene_serve(&scene);
    client->options.queues = 2;
    client->options.reconnect_delay_ms = 3600000;
    client->env.log = keep_error;
    last_error[0] = '\0';
    REQUIRE(scene_connect(client));
}

/* The server's program ends; with the machine goes what it had cached. */
static void restart(bool machine)
{
    scene.cache[0] += machine;
    scene_restart_server(&scene);
    scene_advance(&scene, 10000);
}

static void submit(struct scene_io *io, unsigned int queue, enum rdisk_op op,
                   unsigned int flags)
{
    client->flags = flags;
    REQUIRE(scene_submit(io, client, queue, op, 0,
                         op == RDISK_OP_WRITE ? buffer : NULL,
                         op == RDISK_OP_FLUSH ? 0 : BYTES) == 0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, queue));
    scene_pump(&scene);
}

static int run(unsigned int queue, enum rdisk_op op, unsigned int flags)
{
    static struct scene_io io;

    /* A range has a length, but no memory. */
    if (rdisk_op_is_range(op)) {
        client->flags = flags;
        return scene_do(client, op, 0, NULL, BYTES);
    }
    submit(&io, queue, op, flags);
    CHECK_EQUAL(io.completed, 1);
    return io.result;
}

static int flush(unsigned int queue)
{
    return run(queue, RDISK_OP_FLUSH, 0);
}

/* ---- The volatile cache ------------------------------------------------ */

static void next_flush_fails(void)
{
    begin();
    CHECK_EQUAL(run(0, RDISK_OP_WRITE, 0), 0);
    restart(true);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_SAYS(last_error, "has lost its volatile cache");
    CHECK_EQUAL(flush(0), -EIO);
    CHECK_EQUAL(flush(0), 0);
    CHECK_EQUAL(flush(1), 0);
    scene_end(&scene);
}

static void flush_on_another_queue_fails(void)
{
    begin();
    CHECK_EQUAL(run(0, RDISK_OP_WRITE, 0), 0);
    restart(true);
    CHECK_EQUAL(flush(1), -EIO);
    CHECK_EQUAL(flush(0), 0);
    scene_end(&scene);
}

static void restart_of_the_program_loses_nothing(void)
{
    begin();
    CHECK_EQUAL(run(0, RDISK_OP_WRITE, 0), 0);
    restart(false);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(flush(0), 0);
    CHECK_EQUAL(last_error[0], '\0');
    scene_end(&scene);
}

static void flushed_writes_are_not_lost(void)
{
    begin();
    CHECK_EQUAL(run(0, RDISK_OP_WRITE, 0), 0);
    CHECK_EQUAL(run(1, RDISK_OP_WRITE, 0), 0);
    CHECK_EQUAL(flush(1), 0);
    restart(true);
    CHECK_EQUAL(flush(0), 0);
    CHECK_EQUAL(last_error[0], '\0');
    scene_end(&scene);
}

static void forced_writes_are_not_lost(void)
{
    begin();
    CHECK_EQUAL(run(0, RDISK_OP_WRITE, RDISK_REQUEST_FUA), 0);
    CHECK_EQUAL(run(0, RDISK_OP_ZEROES, RDISK_REQUEST_FUA), 0);
    restart(true);
    CHECK_EQUAL(flush(0), 0);
    scene_end(&scene);
}

static void ranges_are_lost_like_writes(void)
{
    static const enum rdisk_op ops[] = { RDISK_OP_ZEROES, RDISK_OP_DISCARD };

    for (unsigned int i = 0; i < 2; i++) {
        begin();
        CHECK_EQUAL(run(0, ops[i], 0), 0);
        restart(true);
        CHECK_EQUAL(flush(0), -EIO);
        CHECK_EQUAL(flush(0), 0);
        scene_end(&scene);
    }
}

static void failed_writes_are_not_lost(void)
{
    begin();
    scene.fail_with = RDISK_STATUS_NO_SPACE;
    CHECK_EQUAL(run(0, RDISK_OP_WRITE, 0), -ENOSPC);
    scene.fail_with = RDISK_STATUS_OK;
    restart(true);
    CHECK_EQUAL(flush(0), 0);
    scene_end(&scene);
}

static void writes_sent_again_are_not_lost(void)
{
    struct scene_io io;

    begin();
    scene.park = true;
    submit(&io, 0, RDISK_OP_WRITE, 0);
    restart(true); /* ends with park off */
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, 0);
    CHECK_EQUAL(flush(0), 0);
    scene_end(&scene);
}

static void flush_under_way_fails(void)
{
    struct scene_io io[2];

    begin();
    CHECK_EQUAL(run(0, RDISK_OP_WRITE, 0), 0);
    scene.park = true;
    submit(&io[0], 0, RDISK_OP_FLUSH, 0);
    submit(&io[1], 1, RDISK_OP_FLUSH, 0);
    restart(true);
    for (unsigned int i = 0; i < 2; i++) {
        CHECK_EQUAL(io[i].completed, 1);
        CHECK_EQUAL(io[i].result, -EIO);
    }
    CHECK_EQUAL(flush(0), 0);
    scene_end(&scene);
}

/* It does not cover that write, so it has not told of it. */
static void older_flush_does_not_tell(void)
{
    struct scene_io io;

    begin();
    scene.park = true;
    submit(&io, 0, RDISK_OP_FLUSH, 0);
    scene.park = false;
    CHECK_EQUAL(run(1, RDISK_OP_WRITE, 0), 0);
    restart(true);
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(flush(1), -EIO);
    CHECK_EQUAL(flush(1), 0);
    scene_end(&scene);
}

static void each_loss_is_told(void)
{
    begin();
    for (unsigned int i = 0; i < 3; i++) {
        CHECK_EQUAL(run(0, RDISK_OP_WRITE, 0), 0);
        restart(true);
        CHECK_EQUAL(flush(0), -EIO);
        CHECK_EQUAL(flush(0), 0);
    }
    scene_end(&scene);
}

/* The machine starts again while it is told: it may have begun to recover. */
static void loss_is_told_after_two_reconnects(void)
{
    begin();
    CHECK_EQUAL(run(0, RDISK_OP_WRITE, 0), 0);
    restart(true);
    restart(false);
    CHECK_EQUAL(flush(0), -EIO);
    CHECK_EQUAL(flush(0), 0);
    scene_end(&scene);
}

/* ---- Which volume, which lease ----------------------------------------- */

static void ended(const char *words)
{
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text, words);
}

static void replaced_volume_ends_the_session(void)
{
    unsigned int requests, opens;
    struct scene_io io;

    begin();
    scene.park = true;
    submit(&io, 0, RDISK_OP_WRITE, 0);
    requests = scene.requests;
    scene.identity[15]++;
    scene_restart_server(&scene);
    opens = scene.opens;
    scene_advance(&scene, 60000);
    ended("volume 'vol' of 10.0.0.1:7471 is not the one that this client had "
          "open: it has been replaced");
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, -EIO);
    CHECK_EQUAL(scene.requests, requests);
    CHECK_EQUAL(scene.opens, opens + 1);
    scene_end(&scene);
}

static void generation_is_named_again(void)
{
    begin();
    CHECK_EQUAL(scene.last_open.generation, 0);
    CHECK_EQUAL(rdisk_initiator_info(client->session)->generation, 5);
    restart(false);
    CHECK_EQUAL(scene.last_open.generation, 5);
    scene_end(&scene);
}

static void another_generation_ends_the_session(void)
{
    begin();
    scene.generation = 6;
    restart(false);
    ended("changed the lease of volume 'vol' from generation 5 to 6");
    scene_end(&scene);
}

/* What the server does at 'rdisk fence'. */
static void taken_away_lease_ends_the_session(void)
{
    struct scene_io io[2];
    unsigned int opens;

    begin();
    opens = scene.opens;
    scene.park = true;
    submit(&io[0], 0, RDISK_OP_WRITE, 0);
    for (unsigned int i = 0; i < SCENE_HOLDERS; i++) {
        if (scene.holders[i].session) {
            rdisk_target_session_end(scene.holders[i].session,
                                     RDISK_STATUS_STALE, "taken away");
        }
    }
    client->flags = 0;
    scene_submit(&io[1], client, 1, RDISK_OP_WRITE, BYTES, buffer, BYTES);
    scene_advance(&scene, 60000);
    ended("taken away");
    CHECK_EQUAL(io[0].result, -EIO);
    CHECK_EQUAL(scene.opens, opens);
    CHECK_EQUAL(scene.requests, 1);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "after a lost cache the next flush fails, and only that",
      next_flush_fails },
    { "after a lost cache the next flush fails on whichever queue",
      flush_on_another_queue_fails },
    { "after a restart of the program alone no flush fails",
      restart_of_the_program_loses_nothing },
    { "what was flushed on any queue is not lost with a cache",
      flushed_writes_are_not_lost },
    { "what was written with FUA is not lost with a cache",
      forced_writes_are_not_lost },
    { "zeroes and discards are lost as writes are",
      ranges_are_lost_like_writes },
    { "what has failed is not lost", failed_writes_are_not_lost },
    { "what is sent again to the new cache is not lost",
      writes_sent_again_are_not_lost },
    { "flushes in flight when the cache is lost fail, all of them",
      flush_under_way_fails },
    { "a flush that was submitted before a write does not report its loss",
      older_flush_does_not_tell },
    { "each loss is reported once", each_loss_is_told },
    { "a loss is reported although the connection is lost again",
      loss_is_told_after_two_reconnects },
    { "a replaced volume ends the session, and nothing is sent again",
      replaced_volume_ends_the_session },
    { "a client that comes back names its generation",
      generation_is_named_again },
    { "a client accepts no generation but its own",
      another_generation_ends_the_session },
    { "a client whose lease is taken away writes no more and stays away",
      taken_away_lease_ends_the_session },
};

UNIT_SUITE("durability", tests)
