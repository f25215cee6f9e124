/* SPDX-License-Identifier: BSD-3-Clause */
/* Control messages that tests write by hand. */
#ifndef RDISK_UNIT_MESSAGE_H
#define RDISK_UNIT_MESSAGE_H

#include "transport/wire/wire.h"

/* The header of a message of @size bytes; what it does not name is kept. */
static inline void message_fill(void *message, enum rdisk_message_type type,
                                size_t size)
{
    struct rdisk_wire_message *header = message;

    header->magic = htole32(RDISK_WIRE_MAGIC);
    header->version = htole16(RDISK_WIRE_VERSION);
    header->type = htole16(type);
    header->length = htole32((uint32_t)size);
}

#endif
