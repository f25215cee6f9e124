/* SPDX-License-Identifier: BSD-3-Clause */
/* RESIZE, STAT, CREATE, DELETE and LIST of a client that does as it likes. */
#include "tests/unit/support/hostile.h"
#include "tests/unit/support/unit.h"
#include "transport/wire/list.h"

/* @size bytes wanted; the answer, if any. */
static struct rdisk_wire_message *resize(uint64_t size)
{
    struct rdisk_wire_resize *wire = hostile_message(RDISK_MSG_RESIZE,
                                                     sizeof(*wire));

    wire->message.epoch = htole64(5);
    wire->message.sequence = htole32(77);
    wire->size = htole64(size);
    return hostile_say(sizeof(*wire));
}

static struct rdisk_wire_message *stat_volume(void)
{
    struct rdisk_wire_message *wire = hostile_message(RDISK_MSG_STAT,
                                                      sizeof(*wire));

    wire->epoch = htole64(5);
    return hostile_say(sizeof(*wire));
}

static void is(const struct rdisk_wire_message *reply,
               enum rdisk_message_type type, enum rdisk_status status)
{
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), type);
    CHECK_EQUAL(le16toh(reply->status), status);
}

/* It offers no feature: what the volume has is not for it. */
static void not_agreed(void)
{
    const struct rdisk_wire_message *reply;

    hostile_begin(1);
    hostile_scene.resizable = true;
    hostile_scene.maps = true;
    hostile_open_volume();
    reply = resize(SCENE_SIZE + 4096);
    is(reply, RDISK_MSG_RESIZE_REPLY, RDISK_STATUS_DENIED);
    CHECK_EQUAL(le32toh(reply->sequence), 77);
    CHECK_EQUAL(hostile_scene.resizes, 0);
    CHECK_EQUAL(hostile_scene.size, SCENE_SIZE);
    /* The session goes on. */
    is(stat_volume(), RDISK_MSG_STAT_REPLY, RDISK_STATUS_UNSUPPORTED);
    hostile_end();
}

static void before_open(void)
{
    hostile_begin(1);
    is(resize(SCENE_SIZE), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(hostile_scene.resizes, 0);
    hostile_end();
    hostile_begin(1);
    is(stat_volume(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    hostile_end();
}

static void no_size(void)
{
    hostile_begin(1);
    hostile_open_volume();
    is(resize(0), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(hostile_scene.resizes, 0);
    hostile_end();
}

/* It can be answered: the session goes on. */
static void no_whole_blocks(void)
{
    const struct rdisk_wire_message *reply;

    hostile_begin(1);
    hostile_open_volume();
    reply = resize(SCENE_SIZE + 1);
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), RDISK_MSG_RESIZE_REPLY);
    CHECK(reply->status != RDISK_STATUS_OK);
    CHECK_EQUAL(hostile_scene.resizes, 0);
    hostile_end();
}

/* A client that did not choose the feature is not notified. */
static void not_told(void)
{
    hostile_begin(1);
    hostile_open_volume();
    scene_resize(&hostile_scene, SCENE_SIZE + 4096);
    scene_pump(&hostile_scene);
    CHECK_EQUAL(honest->told_sizes, 1);
    is(stat_volume(), RDISK_MSG_STAT_REPLY, RDISK_STATUS_UNSUPPORTED);
    hostile_end();
}

static struct rdisk_wire_message *create(void)
{
    struct rdisk_wire_create *wire = hostile_message(RDISK_MSG_CREATE,
                                                     sizeof(*wire));

    wire->message.sequence = htole32(77);
    wire->message.epoch = htole64(5);
    wire->size = htole64(1 << 20);
    wire->name_length = htole16(3);
    memcpy(wire->name, "new", 3);
    return hostile_say(sizeof(*wire));
}

static void create_not_agreed(void)
{
    const struct rdisk_wire_message *reply;

    hostile_begin(1);
    hostile_scene.creatable = true;
    hostile_message(RDISK_MSG_HELLO, sizeof(struct rdisk_wire_hello));
    hostile_say(sizeof(struct rdisk_wire_hello));
    reply = create();
    is(reply, RDISK_MSG_CREATE_REPLY, RDISK_STATUS_UNSUPPORTED);
    CHECK_EQUAL(le32toh(reply->sequence), 77);
    CHECK_EQUAL(hostile_scene.creates, 0);
    hostile_end();
}

static struct rdisk_wire_message *delete_volume(void)
{
    struct rdisk_wire_delete *wire = hostile_message(RDISK_MSG_DELETE,
                                                     sizeof(*wire));

    wire->message.sequence = htole32(78);
    wire->message.epoch = htole64(5);
    wire->name_length = htole16(3);
    memcpy(wire->name, "old", 3);
    return hostile_say(sizeof(*wire));
}

static void delete_not_agreed(void)
{
    const struct rdisk_wire_message *reply;

    hostile_begin(1);
    hostile_scene.creatable = true;
    hostile_message(RDISK_MSG_HELLO, sizeof(struct rdisk_wire_hello));
    hostile_say(sizeof(struct rdisk_wire_hello));
    reply = delete_volume();
    is(reply, RDISK_MSG_DELETE_REPLY, RDISK_STATUS_UNSUPPORTED);
    CHECK_EQUAL(le32toh(reply->sequence), 78);
    CHECK_EQUAL(hostile_scene.creates, 0);
    hostile_end();
}

static void delete_out_of_turn(void)
{
    hostile_begin(1);
    hostile_scene.creatable = true;
    is(delete_volume(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    hostile_end();
    hostile_begin(1);
    hostile_scene.creatable = true;
    hostile_open_volume();
    is(delete_volume(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(hostile_scene.creates, 0);
    hostile_end();
}

static struct rdisk_wire_message *list_volumes(void)
{
    struct rdisk_wire_list *wire = hostile_message(RDISK_MSG_LIST,
                                                   sizeof(*wire));

    wire->message.sequence = htole32(79);
    wire->message.epoch = htole64(5);
    return hostile_say(sizeof(*wire));
}

static void greet_with(uint64_t features)
{
    struct rdisk_wire_hello *hello = hostile_message(RDISK_MSG_HELLO,
                                                     sizeof(*hello));

    hello->features = htole64(features);
    hostile_say(sizeof(*hello));
}

static void list_not_agreed(void)
{
    const struct rdisk_wire_message *reply;

    hostile_begin(1);
    hostile_scene.volumes = 3;
    greet_with(0);
    reply = list_volumes();
    is(reply, RDISK_MSG_LIST_REPLY, RDISK_STATUS_UNSUPPORTED);
    CHECK_EQUAL(le32toh(reply->sequence), 79);
    CHECK_EQUAL(hostile_scene.lists, 0);
    hostile_end();
}

static void list_out_of_turn(void)
{
    hostile_begin(1);
    hostile_scene.volumes = 3;
    is(list_volumes(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    hostile_end();
    hostile_begin(1);
    hostile_scene.volumes = 3;
    hostile_open_volume();
    is(list_volumes(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(hostile_scene.lists, 0);
    hostile_end();
    hostile_begin_stranger(1, "alice", "00112233445566778899aabbccddeeff");
    hostile_scene.volumes = 3;
    greet_with(RDISK_FEATURE_LIST);
    is(list_volumes(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(hostile_scene.lists, 0);
    hostile_end();
}

/* It may list as often as it likes, one list at a time, and then delete. */
static void list_again_and_again(void)
{
    hostile_begin(1);
    hostile_scene.volumes = 3;
    hostile_scene.creatable = true;
    greet_with(RDISK_FEATURE_LIST | RDISK_FEATURE_DELETE);
    for (unsigned int i = 1; i <= 20; i++) {
        is(list_volumes(), RDISK_MSG_LIST_REPLY, RDISK_STATUS_OK);
        CHECK_EQUAL(hostile_scene.lists, i);
    }
    is(delete_volume(), RDISK_MSG_DELETE_REPLY, RDISK_STATUS_OK);
    /* That was the last message of this session. */
    CHECK(!list_volumes());
    CHECK_EQUAL(hostile_scene.lists, 20);
    hostile_end();
    hostile_begin(1);
    hostile_scene.volumes = 3;
    hostile_scene.later = true;
    greet_with(RDISK_FEATURE_LIST);
    CHECK(!list_volumes());
    is(list_volumes(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(hostile_scene.lists, 1);
    hostile_end();
}

static struct rdisk_wire_message *snapshot_with(
    enum rdisk_snapshot_action action)
{
    struct rdisk_wire_snapshot *wire = hostile_message(RDISK_MSG_SNAPSHOT,
                                                       sizeof(*wire));

    wire->message.sequence = htole32(80);
    wire->message.epoch = htole64(5);
    wire->action = htole32(action);
    wire->name_length = htole16(3);
    memcpy(wire->name, "v@s", 3);
    return hostile_say(sizeof(*wire));
}

static struct rdisk_wire_message *snapshot(void)
{
    return snapshot_with(RDISK_SNAPSHOT_TAKE);
}

/* Snapshots alone do not suffice, nor does it for snapshots. */
static void flatten_not_agreed(void)
{
    hostile_begin(1);
    hostile_scene.creatable = true;
    greet_with(RDISK_FEATURE_SNAPSHOT);
    is(snapshot_with(RDISK_SNAPSHOT_FLATTEN), RDISK_MSG_SNAPSHOT_REPLY,
       RDISK_STATUS_UNSUPPORTED);
    CHECK_EQUAL(hostile_scene.creates, 0);
    hostile_end();
    hostile_begin(1);
    hostile_scene.creatable = true;
    greet_with(RDISK_FEATURE_FLATTEN);
    is(snapshot(), RDISK_MSG_SNAPSHOT_REPLY, RDISK_STATUS_UNSUPPORTED);
    hostile_end();
    hostile_begin(1);
    hostile_scene.creatable = true;
    greet_with(RDISK_FEATURE_FLATTEN);
    is(snapshot_with(RDISK_SNAPSHOT_FLATTEN), RDISK_MSG_SNAPSHOT_REPLY,
       RDISK_STATUS_OK);
    CHECK_EQUAL(hostile_scene.creates, 1);
    hostile_end();
}

static void snapshot_not_agreed(void)
{
    const struct rdisk_wire_message *reply;

    hostile_begin(1);
    hostile_scene.creatable = true;
    greet_with(0);
    reply = snapshot();
    is(reply, RDISK_MSG_SNAPSHOT_REPLY, RDISK_STATUS_UNSUPPORTED);
    CHECK_EQUAL(le32toh(reply->sequence), 80);
    CHECK_EQUAL(hostile_scene.creates, 0);
    hostile_end();
}

static void snapshot_out_of_turn(void)
{
    hostile_begin(1);
    hostile_scene.creatable = true;
    is(snapshot(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    hostile_end();
    hostile_begin(1);
    hostile_scene.creatable = true;
    hostile_open_volume();
    is(snapshot(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(hostile_scene.creates, 0);
    hostile_end();
}

static void create_out_of_turn(void)
{
    hostile_begin(1);
    hostile_scene.creatable = true;
    is(create(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    hostile_end();
    hostile_begin(1);
    hostile_scene.creatable = true;
    hostile_open_volume();
    is(create(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(hostile_scene.creates, 0);
    hostile_end();
}

/* Not even its name counts before it has proved it. */
static void create_before_proof(void)
{
    hostile_begin_stranger(1, "alice", "00112233445566778899aabbccddeeff");
    hostile_scene.creatable = true;
    hostile_message(RDISK_MSG_HELLO, sizeof(struct rdisk_wire_hello));
    hostile_say(sizeof(struct rdisk_wire_hello));
    is(create(), RDISK_MSG_BYE, RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(hostile_scene.creates, 0);
    hostile_end();
}

static const struct unit_test tests[] = {
    { "what was not agreed on is refused, and nothing else", not_agreed },
    { "questions before OPEN end the session", before_open },
    { "a volume of no size ends the session", no_size },
    { "a size that is not whole blocks is refused, and the session goes on",
      no_whole_blocks },
    { "a create that was not agreed on is refused", create_not_agreed },
    { "a create before HELLO or after OPEN ends the session",
      create_out_of_turn },
    { "a DELETE that was not agreed on is refused", delete_not_agreed },
    { "a SNAPSHOT that was not agreed on is refused", snapshot_not_agreed },
    { "to flatten has to be agreed on besides", flatten_not_agreed },
    { "a SNAPSHOT comes instead of an OPEN, and after HELLO",
      snapshot_out_of_turn },
    { "a DELETE comes instead of an OPEN, and after HELLO",
      delete_out_of_turn },
    { "a LIST that was not agreed on is refused", list_not_agreed },
    { "a LIST before the proof or after OPEN ends the session",
      list_out_of_turn },
    { "a client has one list at a time", list_again_and_again },
    { "a create before the proof ends the session", create_before_proof },
    { "a client without the feature RESIZE gets no VOLUME_CHANGED", not_told },
};

UNIT_SUITE("hostile-call", tests)
