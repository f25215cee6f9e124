/* SPDX-License-Identifier: BSD-3-Clause */
/* CREATE, from a client to its server and back. */
#include <errno.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];

/* A session that makes a volume; what came of it is in client->state. */
static void make(uint64_t size, unsigned int flags)
{
    static const struct rdisk_initiator_events none;

    client->session = rdisk_initiator_create(&client->env, &client->options,
                                             &none, NULL, &client->error);
    REQUIRE(client->session != NULL);
    CHECK_EQUAL(rdisk_initiator_make(client->session, size, flags), 0);
    CHECK_EQUAL(rdisk_initiator_start(client->session, &client->error), 0);
    CHECK_EQUAL(rdisk_initiator_make(client->session, size, flags), -EALREADY);
    scene_pump(&scene);
    client->state = rdisk_initiator_state(client->session);
}

static void begin(bool creatable)
{
    scene_prepare(&scene, 1);
    scene.creatable = creatable;
    client->options.volume = "new-one";
    scene_serve(&scene);
}

static void makes_a_volume(void)
{
    begin(true);
    make(1 << 20, RDISK_CREATE_EXCLUSIVE);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_CLOSED);
    CHECK_EQUAL(scene.creates, 1);
    CHECK_EQUAL(scene.opens, 0);
    CHECK_SAYS(scene.last_create.volume, "new-one");
    CHECK_EQUAL(strlen(scene.last_create.volume), 7);
    CHECK_EQUAL(scene.last_create.size, 1 << 20);
    CHECK(scene.last_create.exclusive);
    scene_drop(client);
    make(512, 0);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_CLOSED);
    CHECK(!scene.last_create.exclusive);
    scene_drop(client);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_end(&scene);
}

/* A session that deletes one. */
static void unmake(void)
{
    static const struct rdisk_initiator_events none;

    client->session = rdisk_initiator_create(&client->env, &client->options,
                                             &none, NULL, &client->error);
    REQUIRE(client->session != NULL);
    CHECK_EQUAL(rdisk_initiator_remove(client->session), 0);
    CHECK_EQUAL(rdisk_initiator_start(client->session, &client->error), 0);
    CHECK_EQUAL(rdisk_initiator_remove(client->session), -EALREADY);
    scene_pump(&scene);
    client->state = rdisk_initiator_state(client->session);
}

static void deletes_a_volume(void)
{
    begin(true);
    unmake();
    CHECK_EQUAL(client->state, RDISK_INITIATOR_CLOSED);
    CHECK_EQUAL(scene.creates, 1);
    CHECK_EQUAL(scene.opens, 0);
    CHECK(scene.last_create.deletes);
    CHECK_EQUAL(scene.last_create.size, 0);
    CHECK_SAYS(scene.last_create.volume, "new-one");
    scene_drop(client);
    /* A session that makes one does not delete it. */
    make(512, 0);
    CHECK(!scene.last_create.deletes);
    scene_drop(client);
    scene_end(&scene);
}

static void delete_refused(void)
{
    begin(true);
    scene.fail_with = RDISK_STATUS_BUSY;
    client->options.reconnect_delay_ms = 60000;
    unmake();
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, -EBUSY);
    scene_drop(client);
    scene_end(&scene);
}

/* As one that is older than it. */
static void delete_not_known(void)
{
    scene_prepare(&scene, 1);
    scene.creatable = true;
    scene.options.withheld_features |= RDISK_FEATURE_DELETE;
    scene_serve(&scene);
    unmake();
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, -ENOTSUP);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "older than DELETE");
    CHECK_EQUAL(scene.creates, 0);
    scene_drop(client);
    scene_end(&scene);
}

/* ---- Snapshots ---------------------------------------------------------- */

static void ask_snapshot(enum rdisk_snapshot_action action, const char *target)
{
    static const struct rdisk_initiator_events none;

    client->session = rdisk_initiator_create(&client->env, &client->options,
                                             &none, NULL, &client->error);
    REQUIRE(client->session != NULL);
    CHECK_EQUAL(rdisk_initiator_snapshot(client->session, action, target), 0);
    CHECK_EQUAL(rdisk_initiator_start(client->session, &client->error), 0);
    CHECK_EQUAL(rdisk_initiator_snapshot(client->session, action, target),
                -EALREADY);
    scene_pump(&scene);
    client->state = rdisk_initiator_state(client->session);
}

static void makes_and_uses_snapshots(void)
{
    static const char *const targets[] = {
        [RDISK_SNAPSHOT_TAKE] = NULL,
        [RDISK_SNAPSHOT_REVERT] = NULL,
        [RDISK_SNAPSHOT_CLONE] = "new",
    };

    begin(true);
    client->options.volume = "v@s";
    for (int i = RDISK_SNAPSHOT_TAKE; i <= RDISK_SNAPSHOT_CLONE; i++) {
        ask_snapshot(i, targets[i]);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_CLOSED);
        CHECK_EQUAL(scene.creates, i);
        CHECK_EQUAL(scene.opens, 0);
        CHECK_EQUAL(scene.last_create.action, i);
        CHECK(!scene.last_create.deletes);
        CHECK_EQUAL(strcmp(scene.last_create.volume, "v@s"), 0);
        CHECK_EQUAL(strcmp(scene.last_create.target,
                           targets[i] ? targets[i] : ""),
                    0);
        scene_drop(client);
    }
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_end(&scene);
}

static void snapshot_refused(void)
{
    begin(true);
    scene.fail_with = RDISK_STATUS_BUSY;
    client->options.reconnect_delay_ms = 60000;
    ask_snapshot(RDISK_SNAPSHOT_REVERT, NULL);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, -EBUSY);
    scene_drop(client);
    scene_end(&scene);
}

static void snapshot_not_known(void)
{
    scene_prepare(&scene, 1);
    scene.creatable = true;
    scene.options.withheld_features = RDISK_FEATURE_SNAPSHOT;
    scene_serve(&scene);
    ask_snapshot(RDISK_SNAPSHOT_TAKE, NULL);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, -ENOTSUP);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "older than SNAPSHOT");
    CHECK_EQUAL(scene.creates, 0);
    scene_drop(client);
    scene_end(&scene);
}

static void flattens_a_clone(void)
{
    begin(true);
    client->options.volume = "v";
    ask_snapshot(RDISK_SNAPSHOT_FLATTEN, NULL);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_CLOSED);
    CHECK_EQUAL(scene.last_create.action, RDISK_SNAPSHOT_FLATTEN);
    CHECK_EQUAL(strcmp(scene.last_create.volume, "v"), 0);
    scene_drop(client);
    scene_end(&scene);
}

/* It may have snapshots; and one that has it, none. */
static void flatten_not_known(uint64_t client_lacks, uint64_t server_lacks)
{
    scene_prepare(&scene, 1);
    scene.creatable = true;
    scene.options.withheld_features = server_lacks;
    client->options.withheld_features = client_lacks;
    scene_serve(&scene);
    ask_snapshot(RDISK_SNAPSHOT_FLATTEN, NULL);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, -ENOTSUP);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "cannot flatten volumes for its clients: its version is older "
               "than FLATTEN");
    CHECK_EQUAL(scene.creates, 0);
    scene_drop(client);
    scene_end(&scene);
}

static void flatten_of_an_older_server(void)
{
    flatten_not_known(0, RDISK_FEATURE_FLATTEN);
}

static void flatten_of_an_older_client(void)
{
    flatten_not_known(RDISK_FEATURE_FLATTEN, 0);
}

static void snapshot_arguments(void)
{
    begin(true);
    client->session = rdisk_initiator_create(&client->env, &client->options,
                                             NULL, NULL, &client->error);
    REQUIRE(client->session != NULL);
    CHECK_EQUAL(rdisk_initiator_snapshot(client->session, 0, NULL), -EINVAL);
    CHECK_EQUAL(rdisk_initiator_snapshot(client->session, 5, NULL), -EINVAL);
    CHECK_EQUAL(rdisk_initiator_snapshot(client->session, RDISK_SNAPSHOT_TAKE,
                                         "new"),
                -EINVAL);
    CHECK_EQUAL(rdisk_initiator_snapshot(client->session, RDISK_SNAPSHOT_CLONE,
                                         NULL),
                -EINVAL);
    CHECK_EQUAL(rdisk_initiator_snapshot(client->session, RDISK_SNAPSHOT_CLONE,
                                         ".new"),
                -EINVAL);
    scene_drop(client);
    scene_end(&scene);
}

static void check_refused(enum rdisk_status status, int code)
{
    begin(status == RDISK_STATUS_OK ? false : true);
    scene.fail_with = status;
    /* It would come back, but there is no second try of this. */
    client->options.reconnect_delay_ms = 60000;
    make(1 << 20, RDISK_CREATE_EXCLUSIVE);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, code);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text, "not here");
    scene_drop(client);
    scene_end(&scene);
}

static void refusals(void)
{
    check_refused(RDISK_STATUS_OK, -EACCES);
    check_refused(RDISK_STATUS_EXISTS, -EEXIST);
    check_refused(RDISK_STATUS_NO_SPACE, -ENOSPC);
    check_refused(RDISK_STATUS_BUSY, -EBUSY);
}

static void after_the_proof(void)
{
    scene_prepare(&scene, 1);
    scene_authenticate(&scene, "alice", "00112233445566778899aabbccddeeff");
    scene.creatable = true;
    scene_serve(&scene);
    make(1 << 20, 0);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_CLOSED);
    CHECK_EQUAL(scene.creates, 1);
    scene_drop(client);
    scene_end(&scene);
}

static void sizes_and_flags(void)
{
    static const uint64_t wrong[] = { 0, 100, 513, 1ull << 63 };

    begin(true);
    client->session = rdisk_initiator_create(&client->env, &client->options,
                                             NULL, NULL, &client->error);
    for (unsigned int i = 0; i < 4; i++) {
        CHECK_EQUAL(rdisk_initiator_make(client->session, wrong[i], 0),
                    -EINVAL);
    }
    CHECK_EQUAL(rdisk_initiator_make(client->session, 512, 2), -EINVAL);
    scene_drop(client);
    CHECK_EQUAL(rdisk_create_volume(&client->env, &client->options, 513, 0,
                                    &client->error),
                -EINVAL);
    CHECK_SAYS(client->error.text, "invalid size 513");
    scene_end(&scene);
}

static void a_lost_connection_is_the_end(void)
{
    begin(true);
    client->options.reconnect_delay_ms = 60000;
    fake_link_cut(client->host, scene.server_host, true);
    make(1 << 20, 0);
    scene_advance(&scene, 60000);
    CHECK_EQUAL(rdisk_initiator_state(client->session), RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(scene.creates, 0);
    scene_drop(client);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "a session makes a volume and is over", makes_a_volume },
    { "a refusal is reported, once", refusals },
    { "a session deletes a volume and is over", deletes_a_volume },
    { "a session makes, reverts to, or clones a snapshot and is over",
      makes_and_uses_snapshots },
    { "a refused snapshot is not asked for again", snapshot_refused },
    { "a server without SNAPSHOT is not asked for one", snapshot_not_known },
    { "a snapshot has an action, and a clone a name", snapshot_arguments },
    { "a session flattens a clone and is over", flattens_a_clone },
    { "a server without FLATTEN is not asked for it",
      flatten_of_an_older_server },
    { "a client without FLATTEN does not ask for it",
      flatten_of_an_older_client },
    { "a refusal to delete is reported, and not tried again", delete_refused },
    { "an older server is asked to delete nothing", delete_not_known },
    { "a client authenticates first", after_the_proof },
    { "sizes and flags are checked before they are sent", sizes_and_flags },
    { "a lost connection is the end of it", a_lost_connection_is_the_end },
};

UNIT_SUITE("create", tests)
