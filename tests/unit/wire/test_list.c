/* SPDX-License-Identifier: BSD-3-Clause */
/* LIST and its reply: what is refused, field by field. */
#include <stdio.h>

#include "tests/unit/support/message.h"
#include "transport/wire/list.h"
#include "tests/unit/support/unit.h"

static struct rdisk_wire_list list;
static struct rdisk_wire_list_reply reply;
static struct rdisk_list_place place;
static struct rdisk_error err;

static void head(struct rdisk_wire_message *message,
                 enum rdisk_message_type type, size_t size)
{
    memset(message, 0, size);
    message_fill(message, type, size);
}

static void good_list(void)
{
    head(&list.message, RDISK_MSG_LIST, sizeof(list));
    list.after_length = htole16(3);
    memcpy(list.after, "vol", 3);
}

static bool append(const char *name, uint64_t size)
{
    struct rdisk_list_entry entry = { .size = size };

    snprintf(entry.name, sizeof(entry.name), "%s", name);
    return rdisk_list_append(&reply, &place, &entry);
}

static void good_reply(void)
{
    head(&reply.message, RDISK_MSG_LIST_REPLY, sizeof(reply));
    place = (struct rdisk_list_place) { 0 };
    CHECK(append("a", 512));
    CHECK(append("b", 1 << 20));
}

static struct rdisk_wire_list_entry *entry_at(size_t offset)
{
    return (struct rdisk_wire_list_entry *)(reply.entries + offset);
}

static enum rdisk_status check(const void *message)
{
    const struct rdisk_wire_message *header = message;

    return rdisk_wire_check_message(message, le32toh(header->length), 0, &err);
}

static void bad(const void *message, const char *words)
{
    CHECK_EQUAL(check(message), RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, words);
}

static void list_fields(void)
{
    good_list();
    CHECK_EQUAL(check(&list), RDISK_STATUS_OK);
    good_list();
    list.after_length = 0;
    memset(list.after, 0, 3);
    CHECK_EQUAL(check(&list), RDISK_STATUS_OK);
    good_list();
    list.reserved[2] = 1;
    bad(&list, "reserved");
    good_list();
    list.after_length = htole16(129);
    bad(&list, "invalid name");
    good_list();
    list.after_length = htole16(2);
    bad(&list, "invalid name");
    good_list();
    list.after[1] = '/';
    bad(&list, "invalid name");
}

static void what_was_appended_is_read(void)
{
    struct rdisk_list_entry entry;
    char longest[RDISK_VOLUME_NAME_MAX + 1];

    good_reply();
    memset(longest, 'c', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    CHECK(append(longest, INT64_MAX));
    CHECK_EQUAL(check(&reply), RDISK_STATUS_OK);
    place = (struct rdisk_list_place) { 0 };
    CHECK(rdisk_list_next(&reply, &place, &entry));
    CHECK(strcmp(entry.name, "a") == 0 && entry.size == 512);
    CHECK(rdisk_list_next(&reply, &place, &entry));
    CHECK(strcmp(entry.name, "b") == 0 && entry.size == 1 << 20);
    CHECK(rdisk_list_next(&reply, &place, &entry));
    CHECK(strcmp(entry.name, longest) == 0 && entry.size == INT64_MAX);
    CHECK(!rdisk_list_next(&reply, &place, &entry));
}

static void as_many_as_fit(void)
{
    unsigned int count = 0;
    char name[8];

    head(&reply.message, RDISK_MSG_LIST_REPLY, sizeof(reply));
    place = (struct rdisk_list_place) { 0 };
    do {
        snprintf(name, sizeof(name), "v%03u", count++);
    } while (append(name, 512));
    CHECK_EQUAL(count - 1, RDISK_LIST_MAX);
    CHECK_EQUAL(le16toh(reply.count), RDISK_LIST_MAX);
    CHECK_EQUAL(check(&reply), RDISK_STATUS_OK);
}

static void reply_fields(void)
{
    good_reply();
    reply.reserved = 1;
    bad(&reply, "reserved");
    good_reply();
    reply.flags = htole32(2);
    bad(&reply, "flags 0x2");
    good_reply();
    reply.count = htole16(1);
    bad(&reply, "after the last entry");
    good_reply();
    reply.count = htole16(3);
    bad(&reply, "invalid volume name");
    good_reply();
    reply.count = htole16(0xffff);
    bad(&reply, "invalid volume name");
    head(&reply.message, RDISK_MSG_LIST_REPLY, sizeof(reply));
    CHECK_EQUAL(check(&reply), RDISK_STATUS_OK);
    reply.flags = htole32(RDISK_LIST_MORE);
    bad(&reply, "0 entries");
}

static void entry_fields(void)
{
    good_reply();
    entry_at(0)->reserved = 1;
    bad(&reply, "reserved");
    good_reply();
    entry_at(0)->flags = htole32(2);
    bad(&reply, "flags 0x2");
    good_reply();
    entry_at(0)->size = htole64(1ull << 63);
    bad(&reply, "invalid size");
    good_reply();
    entry_at(0)->name_length = htole16(0);
    bad(&reply, "invalid volume name");
    good_reply();
    entry_at(0)->name_length = htole16(0xffff);
    bad(&reply, "65535 bytes");
    good_reply();
    entry_at(0)->name_length = htole16(129);
    bad(&reply, "invalid volume name");
    good_reply();
    reply.entries[sizeof(struct rdisk_wire_list_entry) + 1] = '\1';
    bad(&reply, "not zero");
}

/* Whatever its length says, no byte beyond the message is read. */
static void an_entry_at_the_end(void)
{
    size_t last = sizeof(reply.entries) - sizeof(struct rdisk_wire_list_entry);

    head(&reply.message, RDISK_MSG_LIST_REPLY, sizeof(reply));
    place = (struct rdisk_list_place) { 0 };
    for (char name[] = "v000"; append(name, 512); name[3]++) {
        continue;
    }
    reply.count = htole16(RDISK_LIST_MAX + 1);
    entry_at(last)->name_length = htole16(1);
    bad(&reply, "list reply");
}

static void names_ascend(void)
{
    good_reply();
    reply.entries[sizeof(struct rdisk_wire_list_entry)] = 'b';
    bad(&reply, "do not ascend");
    reply.entries[sizeof(struct rdisk_wire_list_entry)] = 'c';
    bad(&reply, "do not ascend");
}

static const struct unit_test tests[] = {
    { "a LIST has the name of a volume, or none", list_fields },
    { "what was put into a reply is read from it", what_was_appended_is_read },
    { "a reply has as many volumes as fit", as_many_as_fit },
    { "a reply with bad fields is refused", reply_fields },
    { "a reply with a bad entry is refused", entry_fields },
    { "an entry does not reach beyond its message", an_entry_at_the_end },
    { "a reply whose names do not ascend is refused", names_ascend },
};

UNIT_SUITE("wire-list", tests)
