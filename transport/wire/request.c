/* SPDX-License-Identifier: BSD-3-Clause */
/* The checks of requests, and of the one answer that has fields. */
#include "transport/wire/check.h"
#include "transport/wire/request.h"

/* True if the length of @op is in the field range, up to the whole volume. */
static bool is_long(const struct rdisk_request_limits *limits, enum rdisk_op op)
{
    return op == RDISK_OP_EXTENTS && limits->long_extents;
}

int rdisk_wire_check_slot(uint32_t immediate,
                          const struct rdisk_request_limits *limits,
                          struct rdisk_error *err)
{
    unsigned int slot = immediate >> 16;

    if (immediate & RDISK_BARE_FLAG) {
        if (!limits->bare) {
            return rdisk_error_set(err, -EPROTO,
                                   "a write without a header, which was not "
                                   "agreed on");
        }
        slot = rdisk_bare_slot(limits->bare_bits, immediate);
    } else if (immediate & RDISK_VECTOR_FLAG) {
        if (!limits->vector) {
            return rdisk_error_set(err, -EPROTO,
                                   "several requests in one message, which was "
                                   "not agreed on");
        }
        slot = rdisk_vector_slot(immediate);
    }
    if (slot >= limits->slots) {
        return rdisk_error_set(err, -EPROTO, "slot %u of %u", slot,
                               limits->slots);
    }
    return (int)slot;
}

/* Form: what a correct peer can never get wrong. */
static enum rdisk_status check_request_form(
    const struct rdisk_wire_request *wire,
    const struct rdisk_request_limits *limits,
    const struct rdisk_request_view *view, struct rdisk_error *err)
{
    if (le16toh(wire->slot) != limits->slot) {
        return BAD(err, "request names slot %u but arrived in slot %u",
                   le16toh(wire->slot), limits->slot);
    }
    if (le64toh(wire->epoch) != limits->epoch) {
        return BAD(err, "request of epoch %llu in a session of epoch %llu",
                   (unsigned long long)le64toh(wire->epoch),
                   (unsigned long long)limits->epoch);
    }
    if ((view->sequence & 0xffff) != limits->immediate_sequence) {
        return BAD(err, "request %u announced as %u", view->sequence & 0xffff,
                   limits->immediate_sequence);
    }
    if (limits->counted && view->sequence != limits->sequence) {
        return BAD(err, "request %u, which is the queue's request %u",
                   view->sequence, limits->sequence);
    }
    if (wire->reserved0 || wire->reserved1 ||
        !all_zero(wire->reserved, sizeof(wire->reserved)) ||
        ((wire->areas | wire->areas_key) &&
         !(limits->vector && view->sequence == 0)) ||
        (view->source && view->op != RDISK_OP_COPY)) {
        return BAD(err, "reserved bytes of request %u are not zero",
                   view->sequence);
    }
    if (is_long(limits, view->op)) {
        if (wire->length) {
            return BAD(err, "request %u has two lengths", view->sequence);
        }
    } else if (rdisk_op_is_range(view->op)) {
        if (view->length > rdisk_op_range_max(view->op)) {
            return BAD(err, "range of %llu bytes, the limit is %u",
                       (unsigned long long)view->length,
                       rdisk_op_range_max(view->op));
        }
    } else if (view->length > limits->slot_size) {
        return BAD(err, "request of %llu bytes in a slot of %u",
                   (unsigned long long)view->length, limits->slot_size);
    }
    if (view->segments > RDISK_SEGMENTS_MAX) {
        return BAD(err, "request with %u segments, the limit is %u",
                   view->segments, RDISK_SEGMENTS_MAX);
    }
    return RDISK_STATUS_OK;
}

/* Meaning: what a correct peer may send, and is refused. */
static enum rdisk_status check_range(const struct rdisk_request_limits *limits,
                                     uint64_t offset, uint64_t length,
                                     struct rdisk_error *err)
{
    if (length == 0 || length % limits->block_size ||
        offset % limits->block_size) {
        return REFUSE(err, RDISK_STATUS_MISALIGNED, -EINVAL,
                      "%llu bytes at %llu are not aligned to blocks of %u",
                      (unsigned long long)length, (unsigned long long)offset,
                      limits->block_size);
    }
    if (offset > limits->size || length > limits->size - offset) {
        return REFUSE(err, RDISK_STATUS_OUT_OF_RANGE, -EINVAL,
                      "%llu bytes at %llu reach beyond the volume's %llu",
                      (unsigned long long)length, (unsigned long long)offset,
                      (unsigned long long)limits->size);
    }
    return RDISK_STATUS_OK;
}

/* The range that a COPY reads; the one it writes has been checked. */
static enum rdisk_status check_source(const struct rdisk_request_limits *limits,
                                      const struct rdisk_request_view *view,
                                      struct rdisk_error *err)
{
    uint64_t distance = view->source > view->offset
                            ? view->source - view->offset
                            : view->offset - view->source;

    if (distance < view->length) {
        return REFUSE(err, RDISK_STATUS_UNSUPPORTED, -EINVAL,
                      "a copy of %llu bytes at %llu to %llu, onto itself",
                      (unsigned long long)view->length,
                      (unsigned long long)view->source,
                      (unsigned long long)view->offset);
    }
    return check_range(limits, view->source, view->length, err);
}

/* A request that changes the volume. */
static enum rdisk_status check_change(const struct rdisk_request_limits *limits,
                                      const struct rdisk_request_view *view,
                                      struct rdisk_error *err)
{
    enum rdisk_status status;

    if (view->segments) {
        return BAD(err, "request %u, which reads nothing, names segments",
                   view->sequence);
    }
    if (limits->read_only) {
        return REFUSE(err, RDISK_STATUS_READ_ONLY, -EROFS,
                      "a change of a read-only volume");
    }
    status = check_range(limits, view->offset, view->length, err);
    if (status == RDISK_STATUS_OK && view->op == RDISK_OP_COPY) {
        status = check_source(limits, view, err);
    }
    return status;
}

/* The flags that each operation may carry, and whether both sides have it. */
static enum rdisk_status check_known(const struct rdisk_request_limits *limits,
                                     const struct rdisk_request_view *view,
                                     struct rdisk_error *err)
{
    unsigned int flags = 0;
    bool known = true;

    switch (view->op) {
    case RDISK_OP_READ:
    case RDISK_OP_FLUSH:
        break;
    case RDISK_OP_WRITE:
        flags = RDISK_REQUEST_FUA;
        break;
    case RDISK_OP_DISCARD:
        known = limits->discard;
        break;
    case RDISK_OP_ZEROES:
        known = limits->zeroes;
        flags = RDISK_REQUEST_FUA | RDISK_REQUEST_UNMAP | RDISK_REQUEST_FAST;
        break;
    case RDISK_OP_EXTENTS:
        known = limits->extents;
        break;
    case RDISK_OP_COPY:
        known = limits->copy;
        flags = RDISK_REQUEST_FUA;
        break;
    default:
        known = false;
    }
    if (!known) {
        return REFUSE(err, RDISK_STATUS_UNSUPPORTED, -ENOTSUP,
                      "operation %u is unknown or was not negotiated",
                      (unsigned int)view->op);
    }
    if (view->flags & ~flags) {
        return REFUSE(err, RDISK_STATUS_UNSUPPORTED, -ENOTSUP,
                      "operation %u with unknown flags 0x%x",
                      (unsigned int)view->op, view->flags & ~flags);
    }
    return RDISK_STATUS_OK;
}

static enum rdisk_status check_operation(
    const struct rdisk_request_limits *limits,
    const struct rdisk_request_view *view, struct rdisk_error *err)
{
    enum rdisk_status status = check_known(limits, view, err);

    if (status != RDISK_STATUS_OK) {
        return status;
    }
    switch (view->op) {
    case RDISK_OP_READ:
    case RDISK_OP_EXTENTS:
        if (view->segments == 0) {
            return BAD(err, "request %u, which reads, names no segment",
                       view->sequence);
        }
        return check_range(limits, view->offset, view->length, err);
    case RDISK_OP_FLUSH:
        if (view->segments || view->length || view->offset) {
            return BAD(err, "flush %u names a range", view->sequence);
        }
        return RDISK_STATUS_OK;
    default:
        return check_change(limits, view, err);
    }
}

enum rdisk_status rdisk_wire_check_request(
    const struct rdisk_wire_request *wire,
    const struct rdisk_request_limits *limits, struct rdisk_request_view *view,
    struct rdisk_error *err)
{
    enum rdisk_status status;

    view->op = wire->opcode;
    view->flags = wire->flags;
    view->offset = le64toh(wire->offset);
    view->source = le64toh(wire->source);
    view->length = le32toh(wire->length);
    view->sequence = le32toh(wire->sequence);
    view->segments = le16toh(wire->segments);
    if (is_long(limits, view->op)) {
        view->length = le64toh(wire->range);
        view->source = 0;
    }

    status = check_request_form(wire, limits, view, err);
    if (status != RDISK_STATUS_OK) {
        return status;
    }
    return check_operation(limits, view, err);
}

/* ---- Vectors ----------------------------------------------------------- */

int rdisk_wire_check_vector(uint32_t length, struct rdisk_error *err)
{
    unsigned int count = length / sizeof(struct rdisk_wire_entry);

    if (length % sizeof(struct rdisk_wire_entry) || count < RDISK_VECTOR_MIN ||
        count > RDISK_VECTOR_MAX) {
        return rdisk_error_set(err, -EPROTO,
                               "a message of %u bytes, which are not %u to %u "
                               "requests of %zu",
                               length, RDISK_VECTOR_MIN, RDISK_VECTOR_MAX,
                               sizeof(struct rdisk_wire_entry));
    }
    return (int)count;
}

enum rdisk_status rdisk_wire_check_entry(
    const struct rdisk_wire_entry *entry,
    const struct rdisk_request_limits *limits, struct rdisk_request_view *view,
    struct rdisk_error *err)
{
    enum rdisk_status status = rdisk_wire_check_request(&entry->request, limits,
                                                        view, err);

    if (status == RDISK_STATUS_BAD_MESSAGE) {
        return status;
    }
    if (view->op == RDISK_OP_WRITE) {
        return BAD(err, "request %u of several, a write, has no payload",
                   view->sequence);
    }
    if (view->segments > 1 ||
        (view->segments == 0 &&
         !all_zero(&entry->segment, sizeof(entry->segment)))) {
        return BAD(err,
                   "request %u of several names %u segments and has another "
                   "number",
                   view->sequence, view->segments);
    }
    return status;
}

/* ---- Bare writes ------------------------------------------------------- */

enum rdisk_status rdisk_wire_check_bare(
    uint32_t immediate, uint32_t length,
    const struct rdisk_request_limits *limits, struct rdisk_request_view *view,
    struct rdisk_error *err)
{
    *view = (struct rdisk_request_view) {
        .op = RDISK_OP_WRITE,
        .offset = rdisk_bare_offset(limits->bare_bits, immediate, limits->base),
        .length = length,
        .sequence = limits->sequence,
    };
    if (length == 0 || length % RDISK_BARE_UNIT || length > limits->slot_size) {
        return BAD(err,
                   "a write without a header of %u bytes, not in multiples of "
                   "%u, in a slot of %u",
                   length, RDISK_BARE_UNIT, limits->slot_size);
    }
    return check_change(limits, view, err);
}

/* ---- Segments --------------------------------------------------------- */

static enum rdisk_status sum_segments(const struct rdisk_wire_segment *segments,
                                      unsigned int count, uint64_t *sum,
                                      struct rdisk_error *err)
{
    *sum = 0;
    for (unsigned int i = 0; i < count; i++) {
        uint64_t address = le64toh(segments[i].address);
        uint32_t bytes = le32toh(segments[i].length);

        if (bytes == 0) {
            return BAD(err, "segment %u is empty", i);
        }
        if (address > UINT64_MAX - bytes) {
            return BAD(err, "segment %u wraps around the address space", i);
        }
        *sum += bytes;
    }
    return RDISK_STATUS_OK;
}

enum rdisk_status rdisk_wire_check_segments(
    const struct rdisk_wire_segment *segments, unsigned int count,
    uint32_t length, struct rdisk_error *err)
{
    uint64_t sum;
    enum rdisk_status status = sum_segments(segments, count, &sum, err);

    if (status != RDISK_STATUS_OK) {
        return status;
    }
    if (sum != length) {
        return BAD(err, "segments of %llu bytes for a read of %u",
                   (unsigned long long)sum, length);
    }
    return RDISK_STATUS_OK;
}

enum rdisk_status rdisk_wire_check_room(
    const struct rdisk_wire_segment *segments, unsigned int count,
    unsigned int *room, struct rdisk_error *err)
{
    uint64_t sum;
    enum rdisk_status status = sum_segments(segments, count, &sum, err);

    if (status != RDISK_STATUS_OK) {
        return status;
    }
    if (sum == 0 || sum % sizeof(struct rdisk_wire_extent) ||
        sum > RDISK_EXTENTS_MAX * sizeof(struct rdisk_wire_extent)) {
        return BAD(err, "segments of %llu bytes do not hold 1…%u extents",
                   (unsigned long long)sum, RDISK_EXTENTS_MAX);
    }
    *room = (unsigned int)(sum / sizeof(struct rdisk_wire_extent));
    return RDISK_STATUS_OK;
}

/* ---- The answer to EXTENTS -------------------------------------------- */

static bool extent_good(const struct rdisk_wire_extent *extent, uint64_t left,
                        uint32_t block_size)
{
    uint64_t length = le64toh(extent->length);

    return length && length <= left && length % block_size == 0 &&
           !(le32toh(extent->flags) & ~RDISK_EXTENT_FLAGS_KNOWN) &&
           !extent->reserved;
}

unsigned int rdisk_wire_check_extents(const struct rdisk_wire_extent *extents,
                                      unsigned int room, uint64_t length,
                                      uint32_t block_size,
                                      struct rdisk_error *err)
{
    uint64_t left = length;
    unsigned int count = 0;

    while (count < room && extents[count].length) {
        if (!extent_good(&extents[count], left, block_size)) {
            rdisk_error_set(err, -EPROTO,
                            "extent %u has %llu bytes, flags 0x%x, with %llu "
                            "bytes left of the range",
                            count,
                            (unsigned long long)le64toh(extents[count].length),
                            le32toh(extents[count].flags),
                            (unsigned long long)left);
            return 0;
        }
        left -= le64toh(extents[count].length);
        count++;
    }
    if (!count ||
        !all_zero(&extents[count], (room - count) * sizeof(extents[0]))) {
        rdisk_error_set(err, -EPROTO,
                        count ? "bytes after the last extent" : "no extents");
        return 0;
    }
    return count;
}
