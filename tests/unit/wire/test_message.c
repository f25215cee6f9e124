/* SPDX-License-Identifier: BSD-3-Clause */
/* Control messages: what is refused, field by field. */
#include <errno.h>

#include "tests/unit/support/message.h"
#include "transport/wire/wire.h"
#include "tests/unit/support/unit.h"

static union {
    struct rdisk_wire_message header;
    struct rdisk_wire_hello hello;
    struct rdisk_wire_auth auth;
    struct rdisk_wire_open open;
    struct rdisk_wire_open_reply reply;
    struct rdisk_wire_ping ping;
    uint8_t bytes[RDISK_MESSAGE_MAX];
} message;
static size_t size;
static struct rdisk_error err;

static void good(enum rdisk_message_type type, size_t bytes)
{
    memset(&message, 0, sizeof(message));
    memset(&err, 0, sizeof(err));
    size = bytes;
    message_fill(&message, type, bytes);
    message.header.epoch = htole64(4);
}

static void good_open(void)
{
    good(RDISK_MSG_OPEN, sizeof(message.open));
    message.open.epoch = htole64(1);
    message.open.heartbeat_ms = htole32(10000);
    message.open.queues = htole16(1);
    message.open.slots = htole16(64);
    message.open.slot_size = htole32(65536);
    message.open.name_length = htole16(3);
    memcpy(message.open.name, "vol", 3);
}

static void good_auth(void)
{
    good(RDISK_MSG_AUTH, sizeof(message.auth));
    message.auth.name_length = htole16(5);
    memcpy(message.auth.name, "alice", 5);
}

static void good_reply(void)
{
    good(RDISK_MSG_OPEN_REPLY, sizeof(message.reply));
    message.reply.session = htole64(9);
    message.reply.epoch = htole64(1);
    message.reply.size = htole64(1 << 20);
    message.reply.block_size = htole32(512);
    message.reply.queues = htole16(1);
    message.reply.slots = htole16(64);
    message.reply.slot_size = htole32(65536);
}

static enum rdisk_status check(uint64_t epoch)
{
    return rdisk_wire_check_message(&message, size, epoch, &err);
}

static void bad(const char *words)
{
    CHECK_EQUAL(check(0), RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, words);
}

/* ---- Header ------------------------------------------------------------ */

static void all_types(void)
{
    static const struct {
        enum rdisk_message_type type;
        size_t size;
    } plain[] = {
        { RDISK_MSG_HELLO, 64 },      { RDISK_MSG_HELLO_REPLY, 64 },
        { RDISK_MSG_PING, 40 },       { RDISK_MSG_PONG, 40 },
        { RDISK_MSG_CLOSE, 32 },      { RDISK_MSG_CLOSE_REPLY, 32 },
        { RDISK_MSG_BYE, 32 },        { RDISK_MSG_AUTH_CHALLENGE, 64 },
        { RDISK_MSG_AUTH_PROOF, 64 }, { RDISK_MSG_AUTH_REPLY, 64 },
    };

    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        good(plain[i].type, plain[i].size);
        CHECK_EQUAL(check(4), RDISK_STATUS_OK);
        /* One byte more or less is another message. */
        good(plain[i].type, plain[i].size + 1);
        CHECK_EQUAL(check(4), RDISK_STATUS_BAD_MESSAGE);
        good(plain[i].type, plain[i].size - 1);
        CHECK_EQUAL(check(4), RDISK_STATUS_BAD_MESSAGE);
    }
    good_open();
    CHECK_EQUAL(check(4), RDISK_STATUS_OK);
    good_auth();
    CHECK_EQUAL(check(4), RDISK_STATUS_OK);
    good_reply();
    CHECK_EQUAL(check(4), RDISK_STATUS_OK);
}

static void each_type_has_a_name_of_its_own(void)
{
    for (unsigned int type = 1; type < RDISK_MSG_COUNT; type++) {
        CHECK(rdisk_messages[type].size >= sizeof(message.header));
        for (unsigned int other = 1; other < type; other++) {
            CHECK(strcmp(rdisk_message_name(type), rdisk_message_name(other)));
        }
    }
    CHECK(!strcmp(rdisk_message_name(0), "unknown message"));
    CHECK(!strcmp(rdisk_message_name(RDISK_MSG_COUNT), "unknown message"));
}

static void stranger(void)
{
    good(RDISK_MSG_PING, 40);
    message.header.magic ^= 1;
    bad("not rdisk");
}

static void other_version(void)
{
    good(RDISK_MSG_HELLO, 64);
    message.header.version = htole16(7);
    CHECK_EQUAL(check(0), RDISK_STATUS_BAD_VERSION);
}

static void unknown_type(void)
{
    for (unsigned int type = 0; type < 300; type++) {
        good(type, 32);
        if (type < RDISK_MSG_HELLO || type >= RDISK_MSG_COUNT) {
            CHECK_EQUAL(check(0), RDISK_STATUS_UNSUPPORTED);
        }
    }
}

static void other_length(void)
{
    good(RDISK_MSG_PING, 40);
    message.header.length = htole32(41);
    bad("41 bytes");
}

static void shorter_than_header(void)
{
    good(RDISK_MSG_CLOSE, 32);
    for (size = 0; size < 32; size++) {
        CHECK_EQUAL(check(0), RDISK_STATUS_BAD_MESSAGE);
    }
}

static void header_reserved(void)
{
    good(RDISK_MSG_PING, 40);
    message.header.reserved = 1;
    CHECK_EQUAL(check(0), RDISK_STATUS_BAD_MESSAGE);
}

static void other_epoch(void)
{
    good(RDISK_MSG_PING, 40);
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
    CHECK_EQUAL(check(5), RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, "epoch 4");
}

static void request_with_status(void)
{
    good(RDISK_MSG_PING, 32);
    message.header.status = htole16(RDISK_STATUS_BUSY);
    bad("status");
}

static void unknown_status(void)
{
    good(RDISK_MSG_OPEN_REPLY, 32);
    message.header.status = htole16(RDISK_STATUS_COUNT);
    bad("status");
}

static void refusal_with_sentence(void)
{
    char text[32];

    good(RDISK_MSG_OPEN_REPLY, 32 + 7);
    message.header.status = htole16(RDISK_STATUS_NO_VOLUME);
    message.header.text_length = htole16(7);
    memcpy(message.bytes + 32, "no\tdisk", 7);
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
    rdisk_wire_text(&message.header, text, sizeof(text));
    CHECK(!strcmp(text, "no?disk"));
    rdisk_wire_text(&message.header, text, 4);
    CHECK(!strcmp(text, "no?"));
}

static void refusal_without_sentence(void)
{
    char text[64];

    good(RDISK_MSG_OPEN_REPLY, 32);
    message.header.status = htole16(RDISK_STATUS_NO_VOLUME);
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
    rdisk_wire_text(&message.header, text, sizeof(text));
    CHECK_SAYS(text, "no such volume");
}

static void sentence_of_another_length(void)
{
    good(RDISK_MSG_OPEN_REPLY, 32 + 7);
    message.header.status = htole16(RDISK_STATUS_NO_VOLUME);
    message.header.text_length = htole16(8);
    bad("text");
    message.header.text_length = htole16(6);
    bad("text");
    good(RDISK_MSG_OPEN_REPLY, 32 + RDISK_TEXT_MAX + 1);
    message.header.status = htole16(RDISK_STATUS_NO_VOLUME);
    message.header.text_length = htole16(RDISK_TEXT_MAX + 1);
    bad("text");
}

static void success_with_sentence(void)
{
    good(RDISK_MSG_HELLO_REPLY, 64);
    message.header.text_length = htole16(3);
    bad("text");
}

/* ---- OPEN -------------------------------------------------------------- */

static void open_epoch(void)
{
    good_open();
    message.open.epoch = 0;
    bad("epoch 0");
}

static void open_flags(void)
{
    good_open();
    message.open.flags = htole32(RDISK_OPEN_FLAGS_KNOWN);
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
    message.open.flags = htole32(RDISK_OPEN_FLAGS_KNOWN + 1);
    CHECK_EQUAL(check(0), RDISK_STATUS_UNSUPPORTED);
}

static void open_heartbeat(void)
{
    good_open();
    message.open.heartbeat_ms = 0;
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
    message.open.heartbeat_ms = htole32(RDISK_HEARTBEAT_MIN_MS - 1);
    bad("heartbeat");
    message.open.heartbeat_ms = htole32(RDISK_HEARTBEAT_MAX_MS + 1);
    bad("heartbeat");
}

static void open_queues(void)
{
    good_open();
    message.open.queues = 0;
    bad("0 queues");
    message.open.queues = htole16(RDISK_QUEUES_MAX + 1);
    bad("65 queues");
}

static void open_slots(void)
{
    good_open();
    message.open.slots = 0;
    bad("slots");
    message.open.slots = htole16(RDISK_SLOTS_MAX + 1);
    bad("slots");
}

static void open_slot_size(void)
{
    good_open();
    message.open.slot_size = htole32(65537);
    bad("slot size");
}

static void open_reserved(void)
{
    for (unsigned int i = 0; i < 3; i++) {
        good_open();
        message.open.reserved[i] = 1;
        bad("reserved");
    }
}

static void open_generation(void)
{
    good_open();
    message.open.generation = htole64(UINT64_MAX);
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
}

static void open_name(void)
{
    static const char *const names[] = {
        "", ".vol", "..", "-vol", "a/b", "a b", "a\nb", "\xc3\xa4",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        good_open();
        message.open.name_length = htole16(strlen(names[i]));
        memcpy(message.open.name, names[i], strlen(names[i]));
        CHECK_EQUAL(check(0), RDISK_STATUS_NO_VOLUME);
    }
    good_open();
    message.open.name_length = htole16(4); /* with a NUL */
    CHECK_EQUAL(check(0), RDISK_STATUS_NO_VOLUME);
    good_open();
    memset(message.open.name, 'x', sizeof(message.open.name));
    message.open.name_length = htole16(RDISK_VOLUME_NAME_MAX);
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
    message.open.name_length = htole16(RDISK_VOLUME_NAME_MAX + 1);
    CHECK_EQUAL(check(0), RDISK_STATUS_NO_VOLUME);
}

/* ---- OPEN_REPLY -------------------------------------------------------- */

static void reply_resident(void)
{
    good_reply();
    message.reply.volume_flags = htole32(RDISK_VOLUME_RESIDENT |
                                         RDISK_VOLUME_READ_ONLY);
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
    message.reply.volume_flags = htole32(RDISK_VOLUME_RESIDENT);
    bad("can be written");
}

static void reply_block_size(void)
{
    static const uint32_t sizes[] = { 0, 1, 256, 513, 1536, 8192 };

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        good_reply();
        message.reply.block_size = htole32(sizes[i]);
        bad("block size");
    }
}

static void reply_size(void)
{
    good_reply();
    message.reply.size = htole64(1000);
    bad("multiple of its block size");
    message.reply.size = htole64(1ull << 63);
    bad("multiple of its block size");
}

static void reply_queues(void)
{
    good_reply();
    message.reply.queues = 0;
    bad("queues");
    message.reply.queues = htole16(RDISK_QUEUES_MAX + 1);
    bad("queues");
}

static void reply_session(void)
{
    good_reply();
    message.reply.session = 0;
    bad("session");
}

static void reply_slots(void)
{
    good_reply();
    message.reply.slots = 0;
    bad("slots");
    good_reply();
    message.reply.slot_size = htole32(4);
    bad("slot size");
}

/* ---- AUTH -------------------------------------------------------------- */

static void auth_name(void)
{
    static const char *const wrong[] = { ".alice", "-alice", "a/b", "a b" };

    for (unsigned int i = 0; i < 4; i++) {
        good_auth();
        memset(message.auth.name, 0, sizeof(message.auth.name));
        message.auth.name_length = htole16((uint16_t)strlen(wrong[i]));
        memcpy(message.auth.name, wrong[i], strlen(wrong[i]));
        bad("client name");
    }
    good_auth();
    message.auth.name_length = 0;
    bad("client name");
    message.auth.name_length = htole16(RDISK_USER_NAME_MAX + 1);
    bad("client name");
    memset(message.auth.name, 'x', RDISK_USER_NAME_MAX);
    message.auth.name_length = htole16(RDISK_USER_NAME_MAX);
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
}

static void auth_reserved(void)
{
    good_auth();
    message.auth.reserved[2] = 1;
    bad("reserved");
    good_auth();
    message.auth.name[5 + 1] = 'x';
    bad("reserved");
}

static void hello_reserved(void)
{
    good(RDISK_MSG_HELLO, 64);
    message.hello.required = htole64(1);
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
    message.hello.auth = htole32(1);
    bad("not zero");
    good(RDISK_MSG_HELLO, 64);
    message.hello.reserved[2] = 1;
    bad("not zero");
    good(RDISK_MSG_HELLO_REPLY, 64);
    message.hello.auth = htole32(1);
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
    message.hello.required = htole64(1);
    bad("not zero");
    good(RDISK_MSG_HELLO_REPLY, 64);
    message.hello.reserved[0] = 1;
    bad("not zero");
}

/* The header's, and not as if the length were wrong. */
static void reserved_in_the_header(void)
{
    good(RDISK_MSG_PING, 40);
    message.header.reserved = 1;
    bad("reserved bytes in the header of PING");
}

/* The client does not know it yet. */
static void epoch_before_open(void)
{
    good(RDISK_MSG_HELLO, 64);
    message.header.epoch = htole64(77);
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
}

/* Unlike in AUTH and CREATE. */
static void open_behind_the_name(void)
{
    good_open();
    message.open.name[3] = 'x';
    CHECK_EQUAL(check(0), RDISK_STATUS_OK);
}

static const struct unit_test tests[] = {
    { "what HELLO and HELLO_REPLY have no use for is zero", hello_reserved },
    { "reserved bytes of a header are named", reserved_in_the_header },
    { "the epoch is not looked at before OPEN_REPLY", epoch_before_open },
    { "what is behind the name in OPEN is not looked at",
      open_behind_the_name },
    { "each message has exactly its size", all_types },
    { "each message type has a name of its own",
      each_type_has_a_name_of_its_own },
    { "a stranger's message is refused", stranger },
    { "a message of another version is refused as such", other_version },
    { "an unknown type is refused as unsupported", unknown_type },
    { "a length other than what arrived is refused", other_length },
    { "less than a header is refused", shorter_than_header },
    { "reserved header bytes in use are refused", header_reserved },
    { "another epoch is refused once the session has one", other_epoch },
    { "only replies carry a status", request_with_status },
    { "an unknown status is refused", unknown_status },
    { "a refusal's sentence is reported, made safe", refusal_with_sentence },
    { "a refusal without a sentence is reported in words",
      refusal_without_sentence },
    { "a sentence of another length than said is refused",
      sentence_of_another_length },
    { "success has no sentence", success_with_sentence },
    { "OPEN's epoch is not 0", open_epoch },
    { "OPEN's unknown flags are refused as unsupported", open_flags },
    { "OPEN's heartbeat is 0 or in its range", open_heartbeat },
    { "OPEN's queues are 1 to 64", open_queues },
    { "OPEN's slots are 1 to 1024", open_slots },
    { "OPEN's slot size is whole pages", open_slot_size },
    { "OPEN's reserved bytes are zero", open_reserved },
    { "OPEN's generation may be any", open_generation },
    { "OPEN's volume name cannot leave the pool", open_name },
    { "a granted block size is a power of two from 512 to 4096",
      reply_block_size },
    { "a resident volume is read-only", reply_resident },
    { "a granted size is whole blocks", reply_size },
    { "granted queues are 1 to 64", reply_queues },
    { "a grant names its session", reply_session },
    { "granted slots are in their range", reply_slots },
    { "a client name is 1 to 64 letters and no path", auth_name },
    { "AUTH's unused bytes are zero", auth_reserved },
};

UNIT_SUITE("wire-message", tests)
