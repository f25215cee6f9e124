/* SPDX-License-Identifier: BSD-3-Clause */
/* LIST, from a client to its server and back, page by page. */
#include <errno.h>
#include <stdio.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static unsigned int listed;

static void each(void *opaque, const struct rdisk_list_entry *entry)
{
    char name[16];

    CHECK(opaque == &scene);
    snprintf(name, sizeof(name), "v-%03u", listed);
    CHECK(strcmp(entry->name, name) == 0);
    CHECK_EQUAL(entry->size, 512 * (listed + 1));
    CHECK_EQUAL(entry->read_only, listed % 2);
    listed++;
}

/* A session that lists; what came of it is in client->state. */
static void list(void)
{
    static const struct rdisk_initiator_events none;

    listed = 0;
    client->session = rdisk_initiator_create(&client->env, &client->options,
                                             &none, NULL, &client->error);
    REQUIRE(client->session != NULL);
    CHECK_EQUAL(rdisk_initiator_list(client->session, each, &scene), 0);
    CHECK_EQUAL(rdisk_initiator_start(client->session, &client->error), 0);
    CHECK_EQUAL(rdisk_initiator_list(client->session, each, &scene), -EALREADY);
    scene_pump(&scene);
    client->state = rdisk_initiator_state(client->session);
}

static void begin(unsigned int volumes)
{
    scene_prepare(&scene, 1);
    scene.volumes = volumes;
    scene_serve(&scene);
}

static void page_by_page(void)
{
    static const unsigned int counts[] = { 1, 18, 19, 20, 38, 100 };

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        begin(counts[i]);
        list();
        CHECK_EQUAL(client->state, RDISK_INITIATOR_CLOSED);
        CHECK_EQUAL(listed, counts[i]);
        CHECK_EQUAL(scene.lists, (counts[i] + 18) / 19);
        CHECK_EQUAL(scene.opens, 0);
        scene_drop(client);
        CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
        scene_end(&scene);
    }
}

static void refused(void)
{
    begin(0);
    client->options.reconnect_delay_ms = 60000;
    list();
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, -EACCES);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text, "not here");
    CHECK_EQUAL(scene.lists, 1);
    CHECK_EQUAL(listed, 0);
    scene_drop(client);
    scene_end(&scene);
}

/* As one that is older than it. */
static void not_known(void)
{
    scene_prepare(&scene, 1);
    scene.volumes = 3;
    scene.options.withheld_features = RDISK_FEATURE_LIST;
    scene_serve(&scene);
    list();
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, -ENOTSUP);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text, "older than LIST");
    CHECK_EQUAL(scene.lists, 0);
    scene_drop(client);
    scene_end(&scene);
}

static void after_the_proof(void)
{
    scene_prepare(&scene, 1);
    scene_authenticate(&scene, "alice", "00112233445566778899aabbccddeeff");
    scene.volumes = 40;
    scene_serve(&scene);
    list();
    CHECK_EQUAL(client->state, RDISK_INITIATOR_CLOSED);
    CHECK_EQUAL(listed, 40);
    scene_drop(client);
    scene_end(&scene);
}

/* ---- Answered later ------------------------------------------------------ */

static struct rdisk_target_session *begin_later(unsigned int volumes)
{
    begin(volumes);
    scene.later = true;
    list();
    CHECK_EQUAL(client->state, RDISK_INITIATOR_CREATING);
    CHECK_EQUAL(scene.lists, 1);
    REQUIRE(scene.holders[0].session != NULL);
    return scene.holders[0].session;
}

static void later(void)
{
    struct rdisk_target_session *target = begin_later(30);
    struct rdisk_list_page page;

    scene.holders[0].session = NULL;
    scene_fill_page(&scene, "", &page);
    rdisk_target_session_listed(target, RDISK_STATUS_OK, &page, NULL);
    scene_pump(&scene);
    /* The next page is asked for in the same session. */
    CHECK_EQUAL(scene.lists, 2);
    CHECK(scene.holders[0].session == target);
    scene.holders[0].session = NULL;
    scene_fill_page(&scene, "v-018", &page);
    rdisk_target_session_listed(target, RDISK_STATUS_OK, &page, NULL);
    scene_pump(&scene);
    CHECK_EQUAL(rdisk_initiator_state(client->session), RDISK_INITIATOR_CLOSED);
    CHECK_EQUAL(listed, 30);
    scene_drop(client);
    scene_end(&scene);
}

static void too_late(void)
{
    begin_later(3);
    client->state = rdisk_initiator_state(client->session);
    scene_advance(&scene, scene.options.open_timeout_ms + 100);
    CHECK_EQUAL(rdisk_initiator_state(client->session), RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "were not listed within");
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "the disk does not answer");
    scene_drop(client);
    scene_advance(&scene, 2000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_end(&scene);
}

static void gone_before_the_answer(void)
{
    begin_later(3);
    scene_drop(client);
    scene_pump(&scene);
    /* The owner has been informed, and answers no more. */
    CHECK(!scene.holders[0].session);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "all volumes are listed, page by page, in their order", page_by_page },
    { "a refusal to list is reported, and not tried again", refused },
    { "an older server is asked for no list", not_known },
    { "a client authenticates before it lists", after_the_proof },
    { "a LIST is answered when the owner is ready", later },
    { "a LIST that the owner does not answer is refused in time", too_late },
    { "a client that leaves takes its LIST along", gone_before_the_answer },
};

UNIT_SUITE("list", tests)
