/* SPDX-License-Identifier: BSD-3-Clause */
/* What the owner answers later: its storage takes its time. */
#include <errno.h>

#include "tests/unit/support/call_answer.h"
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

#define LARGER (SCENE_SIZE + 65536)

static struct scene scene;
static struct scene_client *client = &scene.clients[0];

static void prepare(void)
{
    scene_prepare(&scene, 1);
    scene.resizable = scene.maps = scene.creatable = true;
    memset(&answer, 0, sizeof(answer));
}

/* A client whose OPEN is not answered. */
static void begin_opening(void)
{
    prepare();
    scene.later = true;
    scene_serve(&scene);
    scene_start(client);
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_OPENING);
    CHECK(scene.holders[0].session != NULL);
}

/* A client that is READY; nothing is answered from now on. */
static void begin_ready(void)
{
    prepare();
    scene_serve(&scene);
    REQUIRE(scene_connect(client));
    scene.later = true;
}

static struct rdisk_target_session *session(void)
{
    return scene.holders[0].session;
}

/* ---- OPEN -------------------------------------------------------------- */

static void open_later(void)
{
    begin_opening();
    scene_advance(&scene, 5000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_OPENING);
    rdisk_target_session_retry(session());
    CHECK_EQUAL(scene.laters, 2);
    scene.later = false;
    rdisk_target_session_retry(session());
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(scene.opens, 1);
    scene_end(&scene);
}

static void open_never(void)
{
    begin_opening();
    client->options.open_timeout_ms = 10000;
    scene_advance(&scene, 9000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "within 8 seconds: the disk does not answer");
    scene_advance(&scene, 2000);
    CHECK(session() == NULL);
    scene_end(&scene);
}

static void client_dies_while_opening(void)
{
    begin_opening();
    scene_drop(client);
    scene_advance(&scene, 2000);
    CHECK(session() == NULL);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    CHECK_EQUAL(scene.closes, 0);
    scene_end(&scene);
}

static void server_stops_while_opening(void)
{
    begin_opening();
    rdisk_target_stop(scene.target, "enough");
    scene_advance(&scene, 10000);
    CHECK(session() == NULL);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_end(&scene);
}

/* ---- CREATE ------------------------------------------------------------ */

static void begin_creating(void)
{
    static const struct rdisk_initiator_events none;

    prepare();
    scene.later = true;
    scene_serve(&scene);
    client->session = rdisk_initiator_create(&client->env, &client->options,
                                             &none, NULL, &client->error);
    REQUIRE(client->session != NULL);
    CHECK_EQUAL(rdisk_initiator_make(client->session, 1 << 20, 0), 0);
    CHECK_EQUAL(rdisk_initiator_start(client->session, &client->error), 0);
    scene_pump(&scene);
    CHECK_EQUAL(scene.creates, 1);
    CHECK(session() != NULL);
    CHECK_EQUAL(rdisk_initiator_state(client->session),
                RDISK_INITIATOR_CREATING);
}

static void create_later(void)
{
    struct rdisk_target_session *target;

    begin_creating();
    target = session();
    scene.holders[0].session = NULL; /* it has been answered */
    rdisk_target_session_created(target, RDISK_STATUS_OK, NULL);
    scene_pump(&scene);
    CHECK_EQUAL(rdisk_initiator_state(client->session), RDISK_INITIATOR_CLOSED);
    scene_drop(client);
    scene_end(&scene);
}

static void create_refused_later(void)
{
    struct rdisk_target_session *target;
    struct rdisk_error err;

    begin_creating();
    target = session();
    scene.holders[0].session = NULL;
    rdisk_error_set(&err, -ENOSPC, "it is full");
    rdisk_target_session_created(target, RDISK_STATUS_NO_SPACE, &err);
    scene_pump(&scene);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, -ENOSPC);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text, "it is full");
    scene_drop(client);
    scene_end(&scene);
}

static void create_never(void)
{
    begin_creating();
    scene_advance(&scene, 9000);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "may be later: the disk does not answer");
    scene_advance(&scene, 2000);
    CHECK(session() == NULL);
    scene_drop(client);
    scene_end(&scene);
}

/* ---- RESIZE ------------------------------------------------------------ */

static void ask(void)
{
    CHECK_EQUAL(rdisk_initiator_resize(client->session, LARGER, 0,
                                       answer_resize, NULL),
                0);
    scene_pump(&scene);
    CHECK_EQUAL(scene.laters, 1);
    CHECK_EQUAL(answer.times, 0);
}

static void resize_later(void)
{
    static uint8_t buffer[4096];

    begin_ready();
    ask();
    scene_advance(&scene, 20000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, 0, buffer, 4096), 0);
    CHECK_EQUAL(answer.times, 0);
    scene_resize(&scene, LARGER);
    rdisk_target_session_resized(session(), RDISK_STATUS_OK, NULL);
    scene_pump(&scene);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, 0);
    CHECK_EQUAL(client->told_sizes, 0);
    CHECK_EQUAL(rdisk_initiator_size(client->session), LARGER);
    scene_end(&scene);
}

static void resize_refused_later(void)
{
    struct rdisk_error err;

    begin_ready();
    ask();
    rdisk_error_set(&err, -ENOSPC, "it is full");
    rdisk_target_session_resized(session(), RDISK_STATUS_NO_SPACE, &err);
    scene_pump(&scene);
    CHECK_EQUAL(answer.result, -ENOSPC);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(rdisk_initiator_size(client->session), SCENE_SIZE);
    scene_end(&scene);
}

/* Another client's resize comes first, of the same size, and ours fails. */
static void size_of_another(void)
{
    struct rdisk_error err;

    begin_ready();
    ask();
    scene_resize(&scene, LARGER);
    rdisk_error_set(&err, -EIO, "the disk says no");
    rdisk_target_session_resized(session(), RDISK_STATUS_IO_ERROR, &err);
    scene_pump(&scene);
    CHECK_EQUAL(answer.result, -EIO);
    CHECK_EQUAL(client->told_sizes, 1);
    CHECK_EQUAL(rdisk_initiator_size(client->session), LARGER);
    scene_end(&scene);
}

static void resize_never(void)
{
    begin_ready();
    ask();
    scene_advance(&scene, 31000);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, -EBUSY);
    CHECK_SAYS(answer.err.text, "within 30 seconds: the disk does not answer");
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);

    /* The next one is refused until the first has ended. */
    CHECK_EQUAL(rdisk_initiator_resize(client->session, LARGER, 0,
                                       answer_resize, NULL),
                0);
    scene_pump(&scene);
    CHECK_EQUAL(answer.times, 2);
    CHECK_EQUAL(answer.result, -EBUSY);
    CHECK_SAYS(answer.err.text, "still in progress");
    CHECK_EQUAL(scene.resizes, 1);

    scene_resize(&scene, LARGER);
    rdisk_target_session_resized(session(), RDISK_STATUS_OK, NULL);
    scene_pump(&scene);
    CHECK_EQUAL(answer.times, 2);
    CHECK_EQUAL(client->told_sizes, 1);
    CHECK_EQUAL(client->told_size, LARGER);
    scene_end(&scene);
}

static void client_dies_while_resizing(void)
{
    begin_ready();
    ask();
    scene_drop(client);
    CHECK_EQUAL(answer.times, 1);
    scene_advance(&scene, 2000);
    CHECK(session() == NULL);
    CHECK_EQUAL(scene.closes, 1);
    scene_end(&scene);
}

static void closes_while_resizing(void)
{
    begin_ready();
    ask();
    scene_disconnect(client);
    scene_advance(&scene, 2000);
    CHECK(session() == NULL);
    CHECK_EQUAL(scene.closes, 1);
    scene_end(&scene);
}

/* ---- STAT -------------------------------------------------------------- */

static void stat_later(void)
{
    begin_ready();
    CHECK_EQUAL(rdisk_initiator_stat(client->session, answer_stat, NULL), 0);
    scene_advance(&scene, 1000);
    CHECK_EQUAL(answer.times, 0);
    rdisk_target_session_stated(session(), RDISK_STATUS_OK, 4711, NULL);
    scene_pump(&scene);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, 0);
    CHECK_EQUAL(answer.allocated, 4711);
    scene_end(&scene);
}

static void stat_never(void)
{
    begin_ready();
    CHECK_EQUAL(rdisk_initiator_stat(client->session, answer_stat, NULL), 0);
    scene_advance(&scene, 31000);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(answer.result, -EBUSY);
    rdisk_target_session_stated(session(), RDISK_STATUS_OK, 4711, NULL);
    scene_pump(&scene);
    CHECK_EQUAL(answer.times, 1);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "an OPEN is answered when the owner is ready", open_later },
    { "an OPEN that is not answered in time is refused with the reason",
      open_never },
    { "the death of a client is reported to the owner before its OPEN is "
      "answered",
      client_dies_while_opening },
    { "a server that stops ends sessions that are not open yet",
      server_stops_while_opening },
    { "a CREATE is answered when the owner is ready", create_later },
    { "a CREATE is refused when the owner is ready", create_refused_later },
    { "a CREATE that is not answered in time is refused with the reason",
      create_never },
    { "requests go on while a RESIZE waits", resize_later },
    { "a RESIZE that fails later is refused", resize_refused_later },
    { "another client's size is reported when the own RESIZE fails",
      size_of_another },
    { "a RESIZE that is not answered in time is refused, and reports its "
      "size when it ends",
      resize_never },
    { "a client may die while its RESIZE waits", client_dies_while_resizing },
    { "a client may close while its RESIZE waits", closes_while_resizing },
    { "a STAT is answered when the owner is ready", stat_later },
    { "a STAT that is not answered in time is refused", stat_never },
};

UNIT_SUITE("later", tests)
