/* SPDX-License-Identifier: BSD-3-Clause */
/* The checks of private data: connection request, acceptance, rejection. */
#include <stddef.h>
#include <string.h>

#include "transport/wire/check.h"

enum rdisk_status rdisk_wire_check_connect(const void *data, size_t size,
                                           struct rdisk_error *err)
{
    struct rdisk_wire_connect wire;
    enum rdisk_status status;

    status = rdisk_wire_check_start(data, size, sizeof(wire),
                                    "connection request", err);
    if (status != RDISK_STATUS_OK) {
        return status;
    }
    memcpy(&wire, data, sizeof(wire));
    if (wire.reserved0) {
        return BAD(err, "reserved bytes of a connection request are not zero");
    }
    switch (wire.kind) {
    case RDISK_LINK_CONTROL:
        if (le16toh(wire.queue)) {
            return BAD(err, "control connection with queue index %u",
                       le16toh(wire.queue));
        }
        if (!all_zero(&wire.slots,
                      sizeof(wire) -
                          offsetof(struct rdisk_wire_connect, slots))) {
            return BAD(err, "control connection with fields of a data queue "
                            "that are not zero");
        }
        return RDISK_STATUS_OK;
    case RDISK_LINK_DATA:
        if (!le16toh(wire.queue) || le16toh(wire.queue) > RDISK_QUEUES_MAX) {
            return BAD(err, "data queue index %u is not in 1…%u",
                       le16toh(wire.queue), RDISK_QUEUES_MAX);
        }
        return rdisk_wire_check_slots(le16toh(wire.slots),
                                      le32toh(wire.slot_size),
                                      "connection request", err);
    default:
        return BAD(err, "unknown kind of connection %u", wire.kind);
    }
}

enum rdisk_status rdisk_wire_check_accept(const void *data, size_t size,
                                          unsigned int queue,
                                          struct rdisk_error *err)
{
    struct rdisk_wire_accept wire;
    enum rdisk_status status;
    uint64_t stride;

    status = rdisk_wire_check_start(data, size, sizeof(wire), "acceptance",
                                    err);
    if (status != RDISK_STATUS_OK) {
        return status;
    }
    memcpy(&wire, data, sizeof(wire));
    if (le16toh(wire.queue) != queue) {
        return BAD(err, "acceptance for queue %u arrived on queue %u",
                   le16toh(wire.queue), queue);
    }
    if (queue == 0) {
        return RDISK_STATUS_OK;
    }
    status = rdisk_wire_check_slots(le16toh(wire.slots),
                                    le32toh(wire.slot_size), "acceptance", err);
    if (status != RDISK_STATUS_OK) {
        return status;
    }
    stride = le32toh(wire.stride);
    if (stride < RDISK_HEADER_AREA + (uint64_t)le32toh(wire.slot_size) ||
        le64toh(wire.base) > UINT64_MAX - stride * le16toh(wire.slots)) {
        return BAD(err, "slots of %u bytes every %llu from 0x%llx do not fit",
                   le32toh(wire.slot_size), (unsigned long long)stride,
                   (unsigned long long)le64toh(wire.base));
    }
    if (le16toh(wire.max_segments) < RDISK_SEGMENTS_MIN ||
        le16toh(wire.max_segments) > RDISK_SEGMENTS_MAX) {
        return BAD(err, "a limit of %u segments is not in %u…%u",
                   le16toh(wire.max_segments), RDISK_SEGMENTS_MIN,
                   RDISK_SEGMENTS_MAX);
    }
    return RDISK_STATUS_OK;
}

enum rdisk_status rdisk_wire_check_resident(
    const void *data, size_t size, uint64_t volume_size,
    struct rdisk_wire_resident *resident, struct rdisk_error *err)
{
    struct rdisk_wire_accept_resident wire;

    if (size < sizeof(wire)) {
        return BAD(err, "acceptance of %zu bytes, of a resident volume %zu",
                   size, sizeof(wire));
    }
    memcpy(&wire, data, sizeof(wire));
    *resident = wire.resident;
    if (le16toh(resident->reserved)) {
        return BAD(err, "reserved bytes of an acceptance are not zero");
    }
    if (le64toh(resident->address) > UINT64_MAX - volume_size) {
        return BAD(err,
                   "a resident volume of %llu bytes at 0x%llx does not fit",
                   (unsigned long long)volume_size,
                   (unsigned long long)le64toh(resident->address));
    }
    return RDISK_STATUS_OK;
}

enum rdisk_status rdisk_wire_read_reject(const void *data, size_t size,
                                         struct rdisk_error *err)
{
    struct rdisk_wire_reject wire = { 0 };
    char text[sizeof(wire.text) + 1];
    unsigned int status;
    size_t length;

    if (data && size >= sizeof(wire)) {
        memcpy(&wire, data, sizeof(wire));
    }
    if (le32toh(wire.magic) != RDISK_WIRE_MAGIC) {
        return REFUSE(err, RDISK_STATUS_DENIED, -ECONNREFUSED,
                      "connection refused: no rdisk server listens there");
    }
    status = le16toh(wire.status);
    if (status == RDISK_STATUS_OK || status >= RDISK_STATUS_COUNT) {
        status = RDISK_STATUS_BAD_MESSAGE;
    }
    length = le16toh(wire.text_length);
    if (length > sizeof(wire.text)) {
        length = sizeof(wire.text);
    }
    rdisk_wire_copy_text(text, sizeof(text), wire.text, length);
    rdisk_error_set(err, rdisk_status_to_errno(status), "server refused: %s",
                    text[0] ? text : rdisk_status_text(status));
    return status;
}
