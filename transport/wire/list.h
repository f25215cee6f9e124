/* SPDX-License-Identifier: BSD-3-Clause */
/* LIST and LIST_REPLY: volumes of a server, as many as fit into a message. */
#ifndef RDISK_WIRE_LIST_H
#define RDISK_WIRE_LIST_H

#include "transport/wire/wire.h"

struct rdisk_wire_list {
    struct rdisk_wire_message message;
    rdisk_le16 after_length; /* 0: from the first volume on */
    rdisk_le16 reserved[3];
    uint8_t after[RDISK_VOLUME_NAME_MAX]; /* from the next name on */
};
static_assert(sizeof(struct rdisk_wire_list) == 168, "wire layout");

#define RDISK_LIST_MORE        (1u << 0) /* volumes follow after the last one */
#define RDISK_LIST_FLAGS_KNOWN RDISK_LIST_MORE

/* Followed by the name, and by zeroes up to a multiple of 8 bytes. */
struct rdisk_wire_list_entry {
    rdisk_le64 size;  /* bytes */
    rdisk_le32 flags; /* RDISK_VOLUME_READ_ONLY: to this client */
    rdisk_le16 name_length;
    rdisk_le16 reserved;
};
static_assert(sizeof(struct rdisk_wire_list_entry) == 16, "wire layout");

#define RDISK_LIST_BYTES \
    (RDISK_MESSAGE_MAX - sizeof(struct rdisk_wire_message) - 8)

/* Names in ascending order of their bytes. */
struct rdisk_wire_list_reply {
    struct rdisk_wire_message message;
    rdisk_le32 flags; /* RDISK_LIST_… */
    rdisk_le16 count; /* of the entries; with MORE at least one */
    rdisk_le16 reserved;
    uint8_t entries[RDISK_LIST_BYTES]; /* zeroes behind the last one */
};
static_assert(sizeof(struct rdisk_wire_list_reply) == RDISK_MESSAGE_MAX,
              "wire layout");

static_assert(RDISK_LIST_MAX ==
                  RDISK_LIST_BYTES / (sizeof(struct rdisk_wire_list_entry) + 8),
              "names of up to 8 bytes");

/* Where the next entry is written, or read. All zero: at the beginning. */
struct rdisk_list_place {
    size_t offset;
    unsigned int index;
};

/* Append an entry whose name comes after the last one's; false: no room. */
bool rdisk_list_append(struct rdisk_wire_list_reply *reply,
                       struct rdisk_list_place *place,
                       const struct rdisk_list_entry *entry);
/* The next entry of a reply that was checked; false after the last one. */
bool rdisk_list_next(const struct rdisk_wire_list_reply *reply,
                     struct rdisk_list_place *place,
                     struct rdisk_list_entry *entry);

/* Rows of message.c's table. */
enum rdisk_status rdisk_list_check(const void *message,
                                   struct rdisk_error *err);
enum rdisk_status rdisk_list_check_reply(const void *message,
                                         struct rdisk_error *err);

#endif
