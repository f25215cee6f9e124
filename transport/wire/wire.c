/* SPDX-License-Identifier: BSD-3-Clause */
/* The checks of private data and control messages. */
#include <stddef.h>
#include <string.h>

#include "transport/wire/check.h"

/* ---- Private data ----------------------------------------------------- */

/* The start that connect, accept and control messages have in common. */
static enum rdisk_status check_start(const void *data, size_t size,
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
        return BAD(err, "%s starts with 0x%08x, this is not rdisk", what,
                   le32toh(start.magic));
    }
    if (le16toh(start.version) != RDISK_WIRE_VERSION) {
        return REFUSE(err, RDISK_STATUS_BAD_VERSION, -EPROTO,
                      "the peer speaks protocol version %u, this side %u",
                      le16toh(start.version), RDISK_WIRE_VERSION);
    }
    return RDISK_STATUS_OK;
}

static enum rdisk_status check_slots(unsigned int slots, uint32_t slot_size,
                                     const char *what, struct rdisk_error *err)
{
    if (slots < 1 || slots > RDISK_SLOTS_MAX) {
        return BAD(err, "%s: %u slots are not in 1…%u", what, slots,
                   RDISK_SLOTS_MAX);
    }
    if (slot_size < RDISK_SLOT_SIZE_MIN || slot_size > RDISK_SLOT_SIZE_MAX ||
        slot_size % RDISK_SLOT_SIZE_MIN) {
        return BAD(err, "%s: a slot size of %u is no multiple of %u up to %u",
                   what, slot_size, RDISK_SLOT_SIZE_MIN, RDISK_SLOT_SIZE_MAX);
    }
    return RDISK_STATUS_OK;
}

enum rdisk_status rdisk_wire_check_connect(const void *data, size_t size,
                                           struct rdisk_error *err)
{
    struct rdisk_wire_connect wire;
    enum rdisk_status status;

    status = check_start(data, size, sizeof(wire), "connection request", err);
    if (status != RDISK_STATUS_OK) {
        return status;
    }
    memcpy(&wire, data, sizeof(wire));
    switch (wire.kind) {
    case RDISK_LINK_CONTROL:
        if (le16toh(wire.queue)) {
            return BAD(err, "control connection with queue index %u",
                       le16toh(wire.queue));
        }
        return RDISK_STATUS_OK;
    case RDISK_LINK_DATA:
        if (!le16toh(wire.queue) ||
            le16toh(wire.queue) > RDISK_QUEUES_MAX) {
            return BAD(err, "data queue index %u is not in 1…%u",
                       le16toh(wire.queue), RDISK_QUEUES_MAX);
        }
        return check_slots(le16toh(wire.slots), le32toh(wire.slot_size),
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

    status = check_start(data, size, sizeof(wire), "acceptance", err);
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
    status = check_slots(le16toh(wire.slots), le32toh(wire.slot_size),
                         "acceptance", err);
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

/* A peer's sentence, made safe for a terminal and a log line. */
static void copy_text(char *to, size_t to_size, const uint8_t *from,
                      size_t length)
{
    size_t n = length < to_size - 1 ? length : to_size - 1;

    for (size_t i = 0; i < n; i++) {
        to[i] = from[i] < 0x20 || from[i] == 0x7f ? '?' : (char)from[i];
    }
    to[n] = '\0';
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
                      "connection refused: nothing that speaks rdisk listens "
                      "there");
    }
    status = le16toh(wire.status);
    if (status == RDISK_STATUS_OK || status >= RDISK_STATUS_COUNT) {
        status = RDISK_STATUS_BAD_MESSAGE;
    }
    length = le16toh(wire.text_length);
    if (length > sizeof(wire.text)) {
        length = sizeof(wire.text);
    }
    copy_text(text, sizeof(text), wire.text, length);
    rdisk_error_set(err, rdisk_status_to_errno(status), "server refused: %s",
                    text[0] ? text : rdisk_status_text(status));
    return status;
}

/* ---- Control messages ------------------------------------------------- */

static enum rdisk_status check_open(const struct rdisk_wire_open *wire,
                                    struct rdisk_error *err)
{
    uint32_t heartbeat = le32toh(wire->heartbeat_ms);
    unsigned int queues = le16toh(wire->queues);

    if (!le64toh(wire->epoch)) {
        return BAD(err, "open with epoch 0");
    }
    if (le32toh(wire->flags) & ~RDISK_OPEN_FLAGS_KNOWN) {
        return REFUSE(err, RDISK_STATUS_UNSUPPORTED, -ENOTSUP,
                      "unknown open flags 0x%x", le32toh(wire->flags));
    }
    if (heartbeat && (heartbeat < RDISK_HEARTBEAT_MIN_MS ||
                      heartbeat > RDISK_HEARTBEAT_MAX_MS)) {
        return BAD(err, "a heartbeat of %u ms is not in %u…%u", heartbeat,
                   RDISK_HEARTBEAT_MIN_MS, RDISK_HEARTBEAT_MAX_MS);
    }
    if (queues < 1 || queues > RDISK_QUEUES_MAX) {
        return BAD(err, "%u queues are not in 1…%u", queues, RDISK_QUEUES_MAX);
    }
    if (!all_zero(wire->reserved, sizeof(wire->reserved))) {
        return BAD(err, "reserved bytes of open are not zero");
    }
    if (!rdisk_volume_name_valid((const char *)wire->name,
                                 le16toh(wire->name_length))) {
        return REFUSE(err, RDISK_STATUS_NO_VOLUME, -ENOENT,
                      "the volume's name is not well-formed");
    }
    return check_slots(le16toh(wire->slots), le32toh(wire->slot_size), "open",
                       err);
}

static enum rdisk_status check_open_reply(
    const struct rdisk_wire_open_reply *wire, struct rdisk_error *err)
{
    uint32_t block = le32toh(wire->block_size);
    unsigned int queues = le16toh(wire->queues);

    if (block < RDISK_BLOCK_SIZE_MIN || block > RDISK_BLOCK_SIZE_MAX ||
        (block & (block - 1))) {
        return BAD(err, "a block size of %u is no power of two in %u…%u",
                   block, RDISK_BLOCK_SIZE_MIN, RDISK_BLOCK_SIZE_MAX);
    }
    if (le64toh(wire->size) % block || le64toh(wire->size) > INT64_MAX) {
        return BAD(err, "a volume of %llu bytes is not whole blocks of %u",
                   (unsigned long long)le64toh(wire->size), block);
    }
    if (queues < 1 || queues > RDISK_QUEUES_MAX) {
        return BAD(err, "%u queues granted, not 1…%u", queues,
                   RDISK_QUEUES_MAX);
    }
    if (!le64toh(wire->session)) {
        return BAD(err, "open reply without a session");
    }
    return check_slots(le16toh(wire->slots), le32toh(wire->slot_size),
                       "open reply", err);
}

static enum rdisk_status check_auth(const struct rdisk_wire_auth *wire,
                                    struct rdisk_error *err)
{
    size_t length = le16toh(wire->name_length);

    if (!rdisk_user_name_valid((const char *)wire->name, length)) {
        return BAD(err, "the client's name is not well-formed");
    }
    if (!all_zero(wire->reserved, sizeof(wire->reserved)) ||
        !all_zero(wire->name + length, sizeof(wire->name) - length)) {
        return BAD(err, "reserved bytes of auth are not zero");
    }
    return RDISK_STATUS_OK;
}

/* Of a volume; that it is whole blocks of this one is the caller's to see. */
static enum rdisk_status check_size(uint64_t size, const char *what,
                                    struct rdisk_error *err)
{
    if (!size || size % RDISK_BLOCK_SIZE_MIN || size > INT64_MAX) {
        return BAD(err, "%s: a volume cannot have %llu bytes", what,
                   (unsigned long long)size);
    }
    return RDISK_STATUS_OK;
}

static enum rdisk_status check_told_size(const struct rdisk_wire_size *wire,
                                         struct rdisk_error *err)
{
    if (wire->reserved) {
        return BAD(err, "reserved bytes of a size are not zero");
    }
    return check_size(le64toh(wire->size), "size", err);
}

static enum rdisk_status check_resize(const struct rdisk_wire_resize *wire,
                                      struct rdisk_error *err)
{
    if (wire->reserved || (le32toh(wire->flags) & ~RDISK_RESIZE_FLAGS_KNOWN)) {
        return BAD(err, "resize with unknown flags 0x%x, or reserved bytes "
                   "that are not zero", le32toh(wire->flags));
    }
    return check_size(le64toh(wire->size), "resize", err);
}

static enum rdisk_status check_create(const struct rdisk_wire_create *wire,
                                      struct rdisk_error *err)
{
    size_t length = le16toh(wire->name_length);

    if (wire->reserved || (le32toh(wire->flags) & ~RDISK_CREATE_FLAGS_KNOWN)) {
        return BAD(err, "create with unknown flags 0x%x, or reserved bytes "
                   "that are not zero", le32toh(wire->flags));
    }
    if (!rdisk_volume_name_valid((const char *)wire->name, length) ||
        !all_zero(wire->name + length, sizeof(wire->name) - length)) {
        return BAD(err, "the new volume's name is not well-formed");
    }
    return check_size(le64toh(wire->size), "create", err);
}

static enum rdisk_status check_stat_reply(
    const struct rdisk_wire_stat_reply *wire, struct rdisk_error *err)
{
    if (!all_zero(wire->reserved, sizeof(wire->reserved)) ||
        le64toh(wire->allocated) > INT64_MAX) {
        return BAD(err, "stat reply with %llu bytes allocated, or reserved "
                   "bytes that are not zero",
                   (unsigned long long)le64toh(wire->allocated));
    }
    return check_size(le64toh(wire->size), "stat reply", err);
}

static const struct {
    size_t size;
    bool reply;
    const char *name;
} messages[] = {
    [RDISK_MSG_HELLO] = { sizeof(struct rdisk_wire_hello), false, "HELLO" },
    [RDISK_MSG_HELLO_REPLY] = { sizeof(struct rdisk_wire_hello), true,
                                "HELLO_REPLY" },
    [RDISK_MSG_OPEN] = { sizeof(struct rdisk_wire_open), false, "OPEN" },
    [RDISK_MSG_OPEN_REPLY] = { sizeof(struct rdisk_wire_open_reply), true,
                               "OPEN_REPLY" },
    [RDISK_MSG_PING] = { sizeof(struct rdisk_wire_ping), false, "PING" },
    [RDISK_MSG_PONG] = { sizeof(struct rdisk_wire_ping), false, "PONG" },
    [RDISK_MSG_CLOSE] = { sizeof(struct rdisk_wire_message), false, "CLOSE" },
    [RDISK_MSG_CLOSE_REPLY] = { sizeof(struct rdisk_wire_message), true,
                                "CLOSE_REPLY" },
    [RDISK_MSG_BYE] = { sizeof(struct rdisk_wire_message), true, "BYE" },
    [RDISK_MSG_AUTH] = { sizeof(struct rdisk_wire_auth), false, "AUTH" },
    [RDISK_MSG_AUTH_CHALLENGE] = { sizeof(struct rdisk_wire_auth_challenge),
                                   false, "AUTH_CHALLENGE" },
    [RDISK_MSG_AUTH_PROOF] = { sizeof(struct rdisk_wire_auth_proof), false,
                               "AUTH_PROOF" },
    [RDISK_MSG_AUTH_REPLY] = { sizeof(struct rdisk_wire_auth_proof), true,
                               "AUTH_REPLY" },
    [RDISK_MSG_VOLUME_CHANGED] = { sizeof(struct rdisk_wire_size), false,
                                   "VOLUME_CHANGED" },
    [RDISK_MSG_RESIZE] = { sizeof(struct rdisk_wire_resize), false,
                           "RESIZE" },
    [RDISK_MSG_RESIZE_REPLY] = { sizeof(struct rdisk_wire_size), true,
                                 "RESIZE_REPLY" },
    [RDISK_MSG_CREATE] = { sizeof(struct rdisk_wire_create), false,
                           "CREATE" },
    [RDISK_MSG_CREATE_REPLY] = { sizeof(struct rdisk_wire_message), true,
                                 "CREATE_REPLY" },
    [RDISK_MSG_STAT] = { sizeof(struct rdisk_wire_message), false, "STAT" },
    [RDISK_MSG_STAT_REPLY] = { sizeof(struct rdisk_wire_stat_reply), true,
                               "STAT_REPLY" },
};

/* Header against type and size; @body is set when the fields are to be read. */
static enum rdisk_status check_message_header(
    const struct rdisk_wire_message *wire, size_t size, uint64_t epoch,
    bool *body, struct rdisk_error *err)
{
    unsigned int type = le16toh(wire->type);
    unsigned int status = le16toh(wire->status);
    size_t text = le16toh(wire->text_length);

    if (type >= sizeof(messages) / sizeof(messages[0]) ||
        !messages[type].size) {
        return REFUSE(err, RDISK_STATUS_UNSUPPORTED, -ENOTSUP,
                      "unknown message type %u", type);
    }
    if (le32toh(wire->length) != size || wire->reserved) {
        return BAD(err, "%s says %u bytes, %zu arrived", messages[type].name,
                   le32toh(wire->length), size);
    }
    if (epoch && le64toh(wire->epoch) != epoch) {
        return BAD(err, "%s of epoch %llu in a session of epoch %llu",
                   messages[type].name,
                   (unsigned long long)le64toh(wire->epoch),
                   (unsigned long long)epoch);
    }
    if (status && (status >= RDISK_STATUS_COUNT || !messages[type].reply)) {
        return BAD(err, "%s with status %u", messages[type].name, status);
    }
    /* A refusal is the header and a sentence, whatever the type. */
    *body = !status;
    if (status ? size != sizeof(*wire) + text || text > RDISK_TEXT_MAX
               : size != messages[type].size || text) {
        return BAD(err, "%s of %zu bytes with %zu of text",
                   messages[type].name, size, text);
    }
    return RDISK_STATUS_OK;
}

enum rdisk_status rdisk_wire_check_message(const void *data, size_t size,
                                           uint64_t epoch,
                                           struct rdisk_error *err)
{
    const struct rdisk_wire_message *wire = data;
    enum rdisk_status status;
    bool body;

    status = check_start(data, size, sizeof(*wire), "message", err);
    if (status != RDISK_STATUS_OK) {
        return status;
    }
    status = check_message_header(wire, size, epoch, &body, err);
    if (status != RDISK_STATUS_OK || !body) {
        return status;
    }
    switch (le16toh(wire->type)) {
    case RDISK_MSG_AUTH:
        return check_auth(data, err);
    case RDISK_MSG_OPEN:
        return check_open(data, err);
    case RDISK_MSG_OPEN_REPLY:
        return check_open_reply(data, err);
    case RDISK_MSG_VOLUME_CHANGED:
    case RDISK_MSG_RESIZE_REPLY:
        return check_told_size(data, err);
    case RDISK_MSG_RESIZE:
        return check_resize(data, err);
    case RDISK_MSG_CREATE:
        return check_create(data, err);
    case RDISK_MSG_STAT_REPLY:
        return check_stat_reply(data, err);
    default:
        return RDISK_STATUS_OK;
    }
}

void rdisk_wire_text(const struct rdisk_wire_message *message, char *text,
                     size_t size)
{
    size_t length = le16toh(message->status) ? le16toh(message->text_length)
                                             : 0;

    if (length) {
        copy_text(text, size, (const uint8_t *)(message + 1), length);
    } else {
        const char *words = rdisk_status_text(le16toh(message->status));

        copy_text(text, size, (const uint8_t *)words, strlen(words));
    }
}

static bool name_valid(const char *name, size_t length, size_t max)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+@,";

    if (length < 1 || length > max || name[0] == '.' || name[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!name[i] || !strchr(allowed, name[i])) {
            return false;
        }
    }
    return true;
}

bool rdisk_volume_name_valid(const char *name, size_t length)
{
    return name_valid(name, length, RDISK_VOLUME_NAME_MAX);
}

bool rdisk_user_name_valid(const char *name, size_t length)
{
    return name_valid(name, length, RDISK_USER_NAME_MAX);
}
