/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/wire/list.h"

#include <string.h>

#include "transport/wire/check.h"

/* Bytes of an entry with such a name. */
static size_t entry_size(size_t name_length)
{
    return sizeof(struct rdisk_wire_list_entry) + ((name_length + 7) & ~7ull);
}

bool rdisk_list_append(struct rdisk_wire_list_reply *reply,
                       struct rdisk_list_place *place,
                       const struct rdisk_list_entry *entry)
{
    size_t length = strlen(entry->name);
    struct rdisk_wire_list_entry wire = {
        .size = htole64(entry->size),
        .flags = htole32(entry->read_only ? RDISK_VOLUME_READ_ONLY : 0),
        .name_length = htole16((uint16_t)length),
    };
    uint8_t *to = reply->entries + place->offset;

    if (entry_size(length) > sizeof(reply->entries) - place->offset) {
        return false;
    }
    memcpy(to, &wire, sizeof(wire));
    memcpy(to + sizeof(wire), entry->name, length);
    place->offset += entry_size(length);
    reply->count = htole16((uint16_t)++place->index);
    return true;
}

bool rdisk_list_next(const struct rdisk_wire_list_reply *reply,
                     struct rdisk_list_place *place,
                     struct rdisk_list_entry *entry)
{
    const uint8_t *from = reply->entries + place->offset;
    struct rdisk_wire_list_entry wire;
    size_t length;

    if (place->index == le16toh(reply->count)) {
        return false;
    }
    memcpy(&wire, from, sizeof(wire));
    length = le16toh(wire.name_length);
    memcpy(entry->name, from + sizeof(wire), length);
    entry->name[length] = '\0';
    entry->size = le64toh(wire.size);
    entry->read_only = le32toh(wire.flags) & RDISK_VOLUME_READ_ONLY;
    place->offset += entry_size(length);
    place->index++;
    return true;
}

/* ---- Checks ------------------------------------------------------------- */

enum rdisk_status rdisk_list_check(const void *message, struct rdisk_error *err)
{
    const struct rdisk_wire_list *wire = message;
    size_t length = le16toh(wire->after_length);

    if (!all_zero(wire->reserved, sizeof(wire->reserved))) {
        return BAD(err, "reserved bytes of list are not zero");
    }
    if ((length &&
         !rdisk_volume_name_valid((const char *)wire->after, length)) ||
        !all_zero(wire->after + length, sizeof(wire->after) - length)) {
        return BAD(err, "invalid name of the volume to list from");
    }
    return RDISK_STATUS_OK;
}

/* The entry at *@offset, which then is behind it. */
static enum rdisk_status check_entry(const struct rdisk_wire_list_reply *reply,
                                     size_t *offset, struct rdisk_error *err)
{
    size_t room = sizeof(reply->entries) - *offset;
    struct rdisk_wire_list_entry wire;
    const uint8_t *name;
    size_t length, size;

    if (room < sizeof(wire)) {
        return BAD(err, "list reply with more entries than it has bytes for");
    }
    memcpy(&wire, reply->entries + *offset, sizeof(wire));
    name = reply->entries + *offset + sizeof(wire);
    length = le16toh(wire.name_length);
    size = entry_size(length);
    if (size > room) {
        return BAD(err, "list reply with a name of %zu bytes in %zu", length,
                   room - sizeof(wire));
    }
    if (!rdisk_volume_name_valid((const char *)name, length)) {
        return BAD(err, "list reply with an invalid volume name");
    }
    if (wire.reserved || (le32toh(wire.flags) & ~RDISK_VOLUME_READ_ONLY) ||
        le64toh(wire.size) > INT64_MAX ||
        !all_zero(name + length, size - sizeof(wire) - length)) {
        return BAD(err,
                   "list reply with an invalid size, flags 0x%x, or reserved "
                   "bytes that are not zero",
                   le32toh(wire.flags));
    }
    *offset += size;
    return RDISK_STATUS_OK;
}

/* Names that do not ascend would have a client list without end. */
static bool ascends(const struct rdisk_wire_list_reply *reply)
{
    struct rdisk_list_entry last = { .name = "" }, entry;
    struct rdisk_list_place place = { 0 };

    while (rdisk_list_next(reply, &place, &entry)) {
        if (strcmp(entry.name, last.name) <= 0) {
            return false;
        }
        last = entry;
    }
    return true;
}

enum rdisk_status rdisk_list_check_reply(const void *message,
                                         struct rdisk_error *err)
{
    const struct rdisk_wire_list_reply *reply = message;
    unsigned int count = le16toh(reply->count);
    uint32_t flags = le32toh(reply->flags);
    size_t offset = 0;

    if (reply->reserved || (flags & ~RDISK_LIST_FLAGS_KNOWN) ||
        ((flags & RDISK_LIST_MORE) && !count)) {
        return BAD(err,
                   "list reply with %u entries and flags 0x%x, or reserved "
                   "bytes that are not zero",
                   count, flags);
    }
    for (unsigned int i = 0; i < count; i++) {
        enum rdisk_status status = check_entry(reply, &offset, err);

        if (status != RDISK_STATUS_OK) {
            return status;
        }
    }
    if (!all_zero(reply->entries + offset, sizeof(reply->entries) - offset)) {
        return BAD(err, "bytes after the last entry of a list reply");
    }
    if (!ascends(reply)) {
        return BAD(err, "list reply whose names do not ascend");
    }
    return RDISK_STATUS_OK;
}
