/* SPDX-License-Identifier: BSD-3-Clause */
/* What the checks of private data and of control messages have in common. */
#include <stddef.h>
#include <string.h>

#include "transport/wire/check.h"

enum rdisk_status rdisk_wire_check_start(const void *data, size_t size,
                                         size_t minimum, const char *what,
                                         struct rdisk_error *err)
{
    struct rdisk_wire_connect start;

    if (!data || size < minimum) {
        return BAD(err, "%s of %zu bytes is shorter than %zu", what, size,
                   minimum);
    }
    /* Private data lies wherever the library has put it. */
    memcpy(&start, data, offsetof(struct rdisk_wire_connect, kind));
    if (le32toh(start.magic) != RDISK_WIRE_MAGIC) {
        return BAD(err,
                   "%s starts with 0x%08x, which is not rdisk's magic number",
                   what, le32toh(start.magic));
    }
    if (le16toh(start.version) != RDISK_WIRE_VERSION) {
        return REFUSE(err, RDISK_STATUS_BAD_VERSION, -EPROTO,
                      "the peer speaks protocol version %u, this side %u",
                      le16toh(start.version), RDISK_WIRE_VERSION);
    }
    return RDISK_STATUS_OK;
}

enum rdisk_status rdisk_wire_check_slots(unsigned int slots, uint32_t slot_size,
                                         const char *what,
                                         struct rdisk_error *err)
{
    if (slots < 1 || slots > RDISK_SLOTS_MAX) {
        return BAD(err, "%s: %u slots are not in 1…%u", what, slots,
                   RDISK_SLOTS_MAX);
    }
    if (slot_size < RDISK_SLOT_SIZE_MIN || slot_size > RDISK_SLOT_SIZE_MAX ||
        slot_size % RDISK_SLOT_SIZE_MIN) {
        return BAD(err,
                   "%s: a slot size of %u is not a multiple of %u up to %u",
                   what, slot_size, RDISK_SLOT_SIZE_MIN, RDISK_SLOT_SIZE_MAX);
    }
    return RDISK_STATUS_OK;
}

void rdisk_wire_copy_text(char *to, size_t to_size, const uint8_t *from,
                          size_t length)
{
    size_t n = length < to_size - 1 ? length : to_size - 1;

    for (size_t i = 0; i < n; i++) {
        to[i] = from[i] < 0x20 || from[i] == 0x7f ? '?' : (char)from[i];
    }
    to[n] = '\0';
}
