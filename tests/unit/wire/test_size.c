/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about a volume's size, its snapshots, and where it goes: what is
 * refused, field by field. */
#include <errno.h>

#include "tests/unit/support/message.h"
#include "transport/wire/wire.h"
#include "tests/unit/support/unit.h"

static union {
    struct rdisk_wire_message header;
    struct rdisk_wire_size told;
    struct rdisk_wire_resize resize;
    struct rdisk_wire_stat_reply stat;
    struct rdisk_wire_create create;
    struct rdisk_wire_snapshot snapshot;
    struct rdisk_wire_snapshot_reply snapshot_reply;
    struct rdisk_wire_move move;
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
    /* All of them have it there. */
    message.told.size = htole64(1 << 20);
    if (type == RDISK_MSG_DELETE) {
        message.told.size = 0;
    }
    if (type == RDISK_MSG_SNAPSHOT) {
        message.snapshot.action = htole32(RDISK_SNAPSHOT_CLONE);
        message.snapshot.name_length = htole16(5);
        memcpy(message.snapshot.name, "vol@s", 5);
        message.snapshot.target_length = htole16(3);
        memcpy(message.snapshot.target, "new", 3);
    }
    if (type == RDISK_MSG_CREATE || type == RDISK_MSG_DELETE) {
        message.create.name_length = htole16(3);
        memcpy(message.create.name, "vol", 3);
    }
}

static enum rdisk_status check(void)
{
    message.header.length = htole32((uint32_t)size);
    return rdisk_wire_check_message(&message, size, 4, &err);
}

static void bad(const char *words)
{
    CHECK_EQUAL(check(), RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, words);
}

static const struct {
    enum rdisk_message_type type;
    size_t size;
    bool reply;
} sized[] = {
    { RDISK_MSG_VOLUME_CHANGED, 48, false }, { RDISK_MSG_RESIZE, 48, false },
    { RDISK_MSG_RESIZE_REPLY, 48, true },    { RDISK_MSG_STAT_REPLY, 64, true },
    { RDISK_MSG_CREATE, 176, false },
};

#define EACH(i) (size_t i = 0; i < sizeof(sized) / sizeof(sized[0]); i++)

static void lengths(void)
{
    for
        EACH(i)
        {
            good(sized[i].type, sized[i].size);
            CHECK_EQUAL(check(), RDISK_STATUS_OK);
            size++;
            bad("bytes");
            size -= 2;
            bad("bytes");
        }
    good(RDISK_MSG_STAT, 32);
    message.told.size = 0;
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    size = 40;
    bad("bytes");
    good(RDISK_MSG_DELETE_REPLY, 32);
    message.told.size = 0;
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    good(RDISK_MSG_CREATE_REPLY, 32);
    message.told.size = 0;
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    size = 40;
    bad("bytes");
}

static void sizes(void)
{
    for
        EACH(i)
        {
            good(sized[i].type, sized[i].size);
            message.told.size = 0;
            bad("invalid size 0");
            message.told.size = htole64(513);
            if (sized[i].type == RDISK_MSG_RESIZE) {
                /* The server answers it, and the session goes on. */
                CHECK_EQUAL(check(), RDISK_STATUS_OK);
            } else {
                bad("invalid size 513");
            }
            message.told.size = htole64(1ull << 63);
            bad("invalid size");
            message.told.size = htole64((1ull << 63) - 512);
            CHECK_EQUAL(check(), RDISK_STATUS_OK);
        }
}

static void refusals(void)
{
    for
        EACH(i)
        {
            good(sized[i].type, 32 + 5);
            message.header.status = htole16(RDISK_STATUS_DENIED);
            message.header.text_length = htole16(5);
            CHECK_EQUAL(check(), sized[i].reply ? RDISK_STATUS_OK
                                                : RDISK_STATUS_BAD_MESSAGE);
        }
}

static void reserved(void)
{
    good(RDISK_MSG_VOLUME_CHANGED, 48);
    message.told.reserved = 1;
    bad("reserved");
    good(RDISK_MSG_RESIZE_REPLY, 48);
    message.told.reserved = 1;
    bad("reserved");
    good(RDISK_MSG_RESIZE, 48);
    message.resize.reserved = 1;
    bad("reserved");
    for (unsigned int i = 0; i < 2; i++) {
        good(RDISK_MSG_STAT_REPLY, 64);
        message.stat.reserved[i] = 1;
        bad("reserved");
    }
}

static void resize_flags(void)
{
    good(RDISK_MSG_RESIZE, 48);
    message.resize.flags = htole32(RDISK_RESIZE_SHRINK);
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    message.resize.flags = htole32(2);
    bad("flags 0x2");
}

static void create_flags(void)
{
    good(RDISK_MSG_CREATE, 176);
    message.create.flags = htole32(RDISK_CREATE_EXCLUSIVE);
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    message.create.flags = htole32(2);
    bad("flags 0x2");
    good(RDISK_MSG_CREATE, 176);
    message.create.reserved = 1;
    bad("reserved");
}

/* CREATE's size and flags are reserved there; its name is at the same place. */
static void deletes(void)
{
    good(RDISK_MSG_DELETE, 176);
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    size++;
    bad("bytes");
    size -= 2;
    bad("bytes");
    good(RDISK_MSG_DELETE, 176);
    message.create.size = htole64(512);
    bad("reserved");
    good(RDISK_MSG_DELETE, 176);
    message.create.flags = htole32(1);
    bad("reserved");
    good(RDISK_MSG_DELETE, 176);
    message.create.reserved = 1;
    bad("reserved");
    good(RDISK_MSG_DELETE, 176);
    message.create.name[1] = '/';
    bad("name");
    good(RDISK_MSG_DELETE, 176);
    message.create.name[100] = 'x';
    bad("name");
}

static void snapshots(void)
{
    good(RDISK_MSG_SNAPSHOT, 296);
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    size++;
    bad("bytes");
    for (unsigned int action = 0; action < 6; action++) {
        good(RDISK_MSG_SNAPSHOT, 296);
        message.snapshot.action = htole32(action);
        if (action == 0 || action > RDISK_SNAPSHOT_FLATTEN) {
            bad("unknown action");
        } else if (action != RDISK_SNAPSHOT_CLONE) {
            bad("name");
            message.snapshot.target_length = 0;
            bad("name");
            memset(message.snapshot.target, 0, 3);
            CHECK_EQUAL(check(), RDISK_STATUS_OK);
        }
    }
    good(RDISK_MSG_SNAPSHOT, 296);
    message.snapshot.name_length = htole16(200);
    bad("name");
    good(RDISK_MSG_SNAPSHOT, 296);
    message.snapshot.target_length = htole16(129);
    bad("name");
    good(RDISK_MSG_SNAPSHOT, 296);
    message.snapshot.target_length = 0;
    bad("name");
    good(RDISK_MSG_SNAPSHOT, 296);
    message.snapshot.name[127] = 'x';
    bad("name");
    good(RDISK_MSG_SNAPSHOT_REPLY, 48);
    message.snapshot_reply.pause = htole64(7);
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    message.snapshot_reply.size = htole64(7);
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    message.snapshot_reply.size = htole64(6);
    bad("7 bytes done of 6");
}

static void good_move(void)
{
    good(RDISK_MSG_MOVE, 296);
    message.move.port = htole16(7471);
    message.move.host_length = htole16(4);
    memcpy(message.move.host, "gw-2", 4);
}

static void moves(void)
{
    good_move();
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    size++;
    bad("bytes");
    good_move();
    message.move.port = 0;
    bad("invalid server");
    good_move();
    message.move.host_length = 0;
    bad("invalid server");
    good_move();
    message.move.host_length = htole16(256);
    memset(message.move.host, 'x', 256);
    bad("invalid server");
    good_move();
    message.move.host_length = htole16(5);
    bad("invalid server");
    for (unsigned int c = 0; c < 256; c++) {
        good_move();
        message.move.host[1] = (uint8_t)c;
        if (c <= ' ' || c == 0x7f) {
            bad("invalid server");
        } else {
            CHECK_EQUAL(check(), RDISK_STATUS_OK);
        }
    }
    good_move();
    message.move.host[255] = 'x';
    bad("invalid server");
    good_move();
    message.move.reserved = 1;
    bad("reserved");
}

static void create_names(void)
{
    good(RDISK_MSG_CREATE, 176);
    message.create.name_length = 0;
    bad("name");
    good(RDISK_MSG_CREATE, 176);
    message.create.name_length = htole16(RDISK_VOLUME_NAME_MAX + 1);
    bad("name");
    good(RDISK_MSG_CREATE, 176);
    message.create.name[0] = '.';
    bad("name");
    good(RDISK_MSG_CREATE, 176);
    message.create.name[1] = '/';
    bad("name");
    /* Nothing hides behind it. */
    good(RDISK_MSG_CREATE, 176);
    message.create.name[100] = 'x';
    bad("name");
    good(RDISK_MSG_CREATE, 176);
    memset(message.create.name, 'x', RDISK_VOLUME_NAME_MAX);
    message.create.name_length = htole16(RDISK_VOLUME_NAME_MAX);
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
}

static void allocated(void)
{
    good(RDISK_MSG_STAT_REPLY, 64);
    /* Metadata counts too. */
    message.stat.allocated = htole64(2 << 20);
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    message.stat.allocated = htole64(1ull << 63);
    bad("allocated");
}

static const struct unit_test tests[] = {
    { "each has its length", lengths },
    { "a size is whole sectors, and not nothing", sizes },
    { "only replies refuse", refusals },
    { "reserved bytes are zero", reserved },
    { "a resize knows one flag", resize_flags },
    { "a create knows one flag", create_flags },
    { "a delete has a name and nothing else", deletes },
    { "a snapshot has an action and a name, and a clone two", snapshots },
    { "the name of a new volume is a volume's", create_names },
    { "what is allocated fits a file's size", allocated },
    { "a move names a server and a port", moves },
};

UNIT_SUITE("wire-size", tests)
