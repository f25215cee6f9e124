/* SPDX-License-Identifier: BSD-3-Clause */
/* Control messages: the table of their types, and the checks of their
 * fields. */
#include <stddef.h>
#include <string.h>

#include "transport/wire/check.h"
#include "transport/wire/list.h"

/* ---- Bodies ------------------------------------------------------------ */

static enum rdisk_status check_hello(const void *message,
                                     struct rdisk_error *err)
{
    const struct rdisk_wire_hello *wire = message;

    if (wire->auth || !all_zero(wire->reserved, sizeof(wire->reserved))) {
        return BAD(err, "auth or reserved bytes of hello are not zero");
    }
    return RDISK_STATUS_OK;
}

static enum rdisk_status check_hello_reply(const void *message,
                                           struct rdisk_error *err)
{
    const struct rdisk_wire_hello *wire = message;

    if (wire->required || !all_zero(wire->reserved, sizeof(wire->reserved))) {
        return BAD(err, "required or reserved bytes of hello reply are not "
                        "zero");
    }
    return RDISK_STATUS_OK;
}

static enum rdisk_status check_open(const void *message,
                                    struct rdisk_error *err)
{
    const struct rdisk_wire_open *wire = message;
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
                      "invalid volume name");
    }
    return rdisk_wire_check_slots(le16toh(wire->slots),
                                  le32toh(wire->slot_size), "open", err);
}

static enum rdisk_status check_open_reply(const void *message,
                                          struct rdisk_error *err)
{
    const struct rdisk_wire_open_reply *wire = message;
    uint32_t block = le32toh(wire->block_size);
    uint32_t flags = le32toh(wire->volume_flags);
    unsigned int queues = le16toh(wire->queues);

    if (block < RDISK_BLOCK_SIZE_MIN || block > RDISK_BLOCK_SIZE_MAX ||
        (block & (block - 1))) {
        return BAD(err, "a block size of %u is not a power of two in %u…%u",
                   block, RDISK_BLOCK_SIZE_MIN, RDISK_BLOCK_SIZE_MAX);
    }
    if (le64toh(wire->size) % block || le64toh(wire->size) > INT64_MAX) {
        return BAD(
            err,
            "a volume of %llu bytes is not a multiple of its block size, %u",
            (unsigned long long)le64toh(wire->size), block);
    }
    if (queues < 1 || queues > RDISK_QUEUES_MAX) {
        return BAD(err, "%u queues granted, not 1…%u", queues,
                   RDISK_QUEUES_MAX);
    }
    if (!le64toh(wire->session)) {
        return BAD(err, "open reply with session id 0");
    }
    /* Reads of it would not find what was written before. */
    if (flags & RDISK_VOLUME_RESIDENT && !(flags & RDISK_VOLUME_READ_ONLY)) {
        return BAD(err, "a resident volume that can be written");
    }
    return rdisk_wire_check_slots(le16toh(wire->slots),
                                  le32toh(wire->slot_size), "open reply", err);
}

static enum rdisk_status check_auth(const void *message,
                                    struct rdisk_error *err)
{
    const struct rdisk_wire_auth *wire = message;
    size_t length = le16toh(wire->name_length);

    if (!rdisk_user_name_valid((const char *)wire->name, length)) {
        return BAD(err, "invalid client name");
    }
    if (!all_zero(wire->reserved, sizeof(wire->reserved)) ||
        !all_zero(wire->name + length, sizeof(wire->name) - length)) {
        return BAD(err, "reserved bytes of auth are not zero");
    }
    return RDISK_STATUS_OK;
}

/* Of a volume; the caller checks that it is a multiple of its block size. */
static enum rdisk_status check_size(uint64_t size, const char *what,
                                    struct rdisk_error *err)
{
    if (!size || size % RDISK_BLOCK_SIZE_MIN || size > INT64_MAX) {
        return BAD(err, "%s: invalid size %llu", what,
                   (unsigned long long)size);
    }
    return RDISK_STATUS_OK;
}

static enum rdisk_status check_new_size(const void *message,
                                        struct rdisk_error *err)
{
    const struct rdisk_wire_size *wire = message;
    if (wire->reserved) {
        return BAD(err, "reserved bytes of a size are not zero");
    }
    return check_size(le64toh(wire->size), "size", err);
}

static enum rdisk_status check_resize(const void *message,
                                      struct rdisk_error *err)
{
    const struct rdisk_wire_resize *wire = message;
    if (wire->reserved || (le32toh(wire->flags) & ~RDISK_RESIZE_FLAGS_KNOWN)) {
        return BAD(err,
                   "resize with unknown flags 0x%x, or reserved bytes "
                   "that are not zero",
                   le32toh(wire->flags));
    }
    /* The owner checks the block size; a refusal does not end the session. */
    if (!le64toh(wire->size) || le64toh(wire->size) > INT64_MAX) {
        return BAD(err, "resize: invalid size %llu",
                   (unsigned long long)le64toh(wire->size));
    }
    return RDISK_STATUS_OK;
}

static enum rdisk_status check_create(const void *message,
                                      struct rdisk_error *err)
{
    const struct rdisk_wire_create *wire = message;
    size_t length = le16toh(wire->name_length);

    if (wire->reserved || (le32toh(wire->flags) & ~RDISK_CREATE_FLAGS_KNOWN)) {
        return BAD(err,
                   "create with unknown flags 0x%x, or reserved bytes "
                   "that are not zero",
                   le32toh(wire->flags));
    }
    if (!rdisk_volume_name_valid((const char *)wire->name, length) ||
        !all_zero(wire->name + length, sizeof(wire->name) - length)) {
        return BAD(err, "invalid name of the new volume");
    }
    return check_size(le64toh(wire->size), "create", err);
}

static enum rdisk_status check_delete(const void *message,
                                      struct rdisk_error *err)
{
    const struct rdisk_wire_delete *wire = message;
    size_t length = le16toh(wire->name_length);

    if (wire->reserved2 || !all_zero(wire->reserved, sizeof(wire->reserved))) {
        return BAD(err, "reserved bytes of delete are not zero");
    }
    if (!rdisk_volume_name_valid((const char *)wire->name, length) ||
        !all_zero(wire->name + length, sizeof(wire->name) - length)) {
        return BAD(err, "invalid name of the volume to delete");
    }
    return RDISK_STATUS_OK;
}

/* A name and its padding. */
static bool name_fits(const uint8_t name[RDISK_VOLUME_NAME_MAX], size_t length)
{
    return rdisk_volume_name_valid((const char *)name, length) &&
           all_zero(name + length, RDISK_VOLUME_NAME_MAX - length);
}

static enum rdisk_status check_snapshot(const void *message,
                                        struct rdisk_error *err)
{
    const struct rdisk_wire_snapshot *wire = message;
    uint32_t action = le32toh(wire->action);
    size_t length = le16toh(wire->target_length);

    if (action < RDISK_SNAPSHOT_TAKE || action > RDISK_SNAPSHOT_FLATTEN) {
        return BAD(err, "snapshot with unknown action %u", action);
    }
    if (!name_fits(wire->name, le16toh(wire->name_length)) ||
        (action == RDISK_SNAPSHOT_CLONE
             ? !name_fits(wire->target, length)
             : length || !all_zero(wire->target, sizeof(wire->target)))) {
        return BAD(err, "invalid name of a snapshot, or of what it is of");
    }
    return RDISK_STATUS_OK;
}

static enum rdisk_status check_snapshot_reply(const void *message,
                                              struct rdisk_error *err)
{
    const struct rdisk_wire_snapshot_reply *wire = message;

    /* Which of the two it is, the client knows. */
    return wire->size && le64toh(wire->done) > le64toh(wire->size)
               ? BAD(err, "snapshot reply with %llu bytes done of %llu",
                     (unsigned long long)le64toh(wire->done),
                     (unsigned long long)le64toh(wire->size))
               : RDISK_STATUS_OK;
}

/* It is logged as it is. */
static bool all_printable(const uint8_t *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] <= ' ' || text[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static enum rdisk_status check_move(const void *message,
                                    struct rdisk_error *err)
{
    const struct rdisk_wire_move *wire = message;
    size_t length = le16toh(wire->host_length);

    if (!wire->port || wire->reserved || !length || length >= RDISK_HOST_MAX ||
        !all_printable(wire->host, length) ||
        !all_zero(wire->host + length, RDISK_HOST_MAX - length)) {
        return BAD(err, "move to an invalid server, or reserved bytes that are "
                        "not zero");
    }
    return RDISK_STATUS_OK;
}

static enum rdisk_status check_stat_reply(const void *message,
                                          struct rdisk_error *err)
{
    const struct rdisk_wire_stat_reply *wire = message;
    if (!all_zero(wire->reserved, sizeof(wire->reserved)) ||
        le64toh(wire->allocated) > INT64_MAX) {
        return BAD(err,
                   "stat reply with %llu bytes allocated, or reserved "
                   "bytes that are not zero",
                   (unsigned long long)le64toh(wire->allocated));
    }
    return check_size(le64toh(wire->size), "stat reply", err);
}

/* What follows the queue and the number of slots is zero. */
static bool is_short(const struct rdisk_wire_slots *wire)
{
    return !wire->reserved0 && !wire->slot_size && !wire->stride &&
           !wire->base && !wire->rkey && !wire->reserved1;
}

static bool has_queue(const struct rdisk_wire_slots *wire)
{
    return le16toh(wire->queue) >= 1 &&
           le16toh(wire->queue) <= RDISK_QUEUES_MAX;
}

static bool has_numbers(const struct rdisk_wire_slots *wire)
{
    return le16toh(wire->count) >= 1 &&
           le16toh(wire->first) + le16toh(wire->count) <=
               (int)(RDISK_SLOTS_MAX + RDISK_BASE_SLOTS_MAX);
}

static enum rdisk_status check_slots_want(const void *message,
                                          struct rdisk_error *err)
{
    const struct rdisk_wire_slots *wire = message;

    if (!has_queue(wire) || wire->first || !is_short(wire) ||
        le16toh(wire->count) > RDISK_SLOTS_MAX) {
        return BAD(err,
                   "%u slots wanted by queue %u, or fields that are not "
                   "zero",
                   le16toh(wire->count), le16toh(wire->queue));
    }
    return RDISK_STATUS_OK;
}

/* SLOTS_RECALL and SLOTS_RETURN. */
static enum rdisk_status check_slots_named(const void *message,
                                           struct rdisk_error *err)
{
    const struct rdisk_wire_slots *wire = message;

    if (!has_queue(wire) || !has_numbers(wire) || !is_short(wire)) {
        return BAD(err,
                   "%u slots from %u of queue %u, or fields that are not "
                   "zero",
                   le16toh(wire->count), le16toh(wire->first),
                   le16toh(wire->queue));
    }
    return RDISK_STATUS_OK;
}

static enum rdisk_status check_slots_grant(const void *message,
                                           struct rdisk_error *err)
{
    const struct rdisk_wire_slots *wire = message;
    uint32_t size = le32toh(wire->slot_size);
    uint64_t stride = le32toh(wire->stride);

    if (!has_queue(wire) || !has_numbers(wire) || wire->reserved0 ||
        wire->reserved1 || stride < RDISK_HEADER_AREA + (uint64_t)size ||
        le64toh(wire->base) > UINT64_MAX - stride * le16toh(wire->count)) {
        return BAD(err,
                   "a grant of %u slots of %u bytes every %llu from 0x%llx, "
                   "from %u of queue %u",
                   le16toh(wire->count), size, (unsigned long long)stride,
                   (unsigned long long)le64toh(wire->base),
                   le16toh(wire->first), le16toh(wire->queue));
    }
    return rdisk_wire_check_slots(le16toh(wire->count), size, "grant", err);
}

/* ---- Types ------------------------------------------------------------- */

#define HEADER_ONLY sizeof(struct rdisk_wire_message)

const struct rdisk_message_info rdisk_messages[RDISK_MSG_COUNT] = {
    [RDISK_MSG_HELLO] = { "HELLO", sizeof(struct rdisk_wire_hello), false,
                          check_hello },
    [RDISK_MSG_HELLO_REPLY] = { "HELLO_REPLY", sizeof(struct rdisk_wire_hello),
                                true, check_hello_reply },
    [RDISK_MSG_OPEN] = { "OPEN", sizeof(struct rdisk_wire_open), false,
                         check_open },
    [RDISK_MSG_OPEN_REPLY] = { "OPEN_REPLY",
                               sizeof(struct rdisk_wire_open_reply), true,
                               check_open_reply },
    [RDISK_MSG_PING] = { "PING", sizeof(struct rdisk_wire_ping), false, NULL },
    [RDISK_MSG_PONG] = { "PONG", sizeof(struct rdisk_wire_ping), false, NULL },
    [RDISK_MSG_CLOSE] = { "CLOSE", HEADER_ONLY, false, NULL },
    [RDISK_MSG_CLOSE_REPLY] = { "CLOSE_REPLY", HEADER_ONLY, true, NULL },
    [RDISK_MSG_BYE] = { "BYE", HEADER_ONLY, true, NULL },
    [RDISK_MSG_AUTH] = { "AUTH", sizeof(struct rdisk_wire_auth), false,
                         check_auth },
    [RDISK_MSG_AUTH_CHALLENGE] = { "AUTH_CHALLENGE",
                                   sizeof(struct rdisk_wire_auth_challenge),
                                   false, NULL },
    [RDISK_MSG_AUTH_PROOF] = { "AUTH_PROOF",
                               sizeof(struct rdisk_wire_auth_proof), false,
                               NULL },
    [RDISK_MSG_AUTH_REPLY] = { "AUTH_REPLY",
                               sizeof(struct rdisk_wire_auth_proof), true,
                               NULL },
    [RDISK_MSG_VOLUME_CHANGED] = { "VOLUME_CHANGED",
                                   sizeof(struct rdisk_wire_size), false,
                                   check_new_size },
    [RDISK_MSG_RESIZE] = { "RESIZE", sizeof(struct rdisk_wire_resize), false,
                           check_resize },
    [RDISK_MSG_RESIZE_REPLY] = { "RESIZE_REPLY", sizeof(struct rdisk_wire_size),
                                 true, check_new_size },
    [RDISK_MSG_CREATE] = { "CREATE", sizeof(struct rdisk_wire_create), false,
                           check_create },
    [RDISK_MSG_CREATE_REPLY] = { "CREATE_REPLY", HEADER_ONLY, true, NULL },
    [RDISK_MSG_DELETE] = { "DELETE", sizeof(struct rdisk_wire_delete), false,
                           check_delete },
    [RDISK_MSG_DELETE_REPLY] = { "DELETE_REPLY", HEADER_ONLY, true, NULL },
    [RDISK_MSG_LIST] = { "LIST", sizeof(struct rdisk_wire_list), false,
                         rdisk_list_check },
    [RDISK_MSG_LIST_REPLY] = { "LIST_REPLY",
                               sizeof(struct rdisk_wire_list_reply), true,
                               rdisk_list_check_reply },
    [RDISK_MSG_SNAPSHOT] = { "SNAPSHOT", sizeof(struct rdisk_wire_snapshot),
                             false, check_snapshot },
    [RDISK_MSG_SNAPSHOT_REPLY] = { "SNAPSHOT_REPLY",
                                   sizeof(struct rdisk_wire_snapshot_reply),
                                   true, check_snapshot_reply },
    [RDISK_MSG_STAT] = { "STAT", HEADER_ONLY, false, NULL },
    [RDISK_MSG_STAT_REPLY] = { "STAT_REPLY",
                               sizeof(struct rdisk_wire_stat_reply), true,
                               check_stat_reply },
    [RDISK_MSG_SLOTS_WANT] = { "SLOTS_WANT", sizeof(struct rdisk_wire_slots),
                               false, check_slots_want },
    [RDISK_MSG_SLOTS_GRANT] = { "SLOTS_GRANT", sizeof(struct rdisk_wire_slots),
                                false, check_slots_grant },
    [RDISK_MSG_SLOTS_RECALL] = { "SLOTS_RECALL",
                                 sizeof(struct rdisk_wire_slots), false,
                                 check_slots_named },
    [RDISK_MSG_SLOTS_RETURN] = { "SLOTS_RETURN",
                                 sizeof(struct rdisk_wire_slots), false,
                                 check_slots_named },
    [RDISK_MSG_SLOTS_ACK] = { "SLOTS_ACK", HEADER_ONLY, false, NULL },
    [RDISK_MSG_MOVE] = { "MOVE", sizeof(struct rdisk_wire_move), false,
                         check_move },
};

static bool known(unsigned int type)
{
    return type < RDISK_MSG_COUNT && rdisk_messages[type].name;
}

const char *rdisk_message_name(unsigned int type)
{
    return known(type) ? rdisk_messages[type].name : "unknown message";
}

/* ---- Messages ---------------------------------------------------------- */

/* Header against type and size; @body is set when the fields are to be read. */
static enum rdisk_status check_header(const struct rdisk_wire_message *wire,
                                      size_t size, uint64_t epoch, bool *body,
                                      struct rdisk_error *err)
{
    unsigned int type = le16toh(wire->type);
    unsigned int status = le16toh(wire->status);
    size_t text = le16toh(wire->text_length);
    const struct rdisk_message_info *info;

    if (!known(type)) {
        return REFUSE(err, RDISK_STATUS_UNSUPPORTED, -ENOTSUP,
                      "unknown message type %u", type);
    }
    info = &rdisk_messages[type];
    if (le32toh(wire->length) != size) {
        return BAD(err, "%s with a length of %u bytes, %zu arrived", info->name,
                   le32toh(wire->length), size);
    }
    if (wire->reserved) {
        return BAD(err, "reserved bytes in the header of %s are not zero",
                   info->name);
    }
    if (epoch && le64toh(wire->epoch) != epoch) {
        return BAD(err, "%s of epoch %llu in a session of epoch %llu",
                   info->name, (unsigned long long)le64toh(wire->epoch),
                   (unsigned long long)epoch);
    }
    if (status && (status >= RDISK_STATUS_COUNT || !info->reply)) {
        return BAD(err, "%s with status %u", info->name, status);
    }
    /* A refusal is the header and a sentence, whatever the type. */
    *body = !status;
    if (status ? size != sizeof(*wire) + text || text > RDISK_TEXT_MAX
               : size != info->size || text) {
        return BAD(err, "%s of %zu bytes with %zu of text", info->name, size,
                   text);
    }
    return RDISK_STATUS_OK;
}

enum rdisk_status rdisk_wire_check_message(const void *data, size_t size,
                                           uint64_t epoch,
                                           struct rdisk_error *err)
{
    const struct rdisk_wire_message *wire = data;
    const struct rdisk_message_info *info;
    enum rdisk_status status;
    bool body;

    status = rdisk_wire_check_start(data, size, sizeof(*wire), "message", err);
    if (status != RDISK_STATUS_OK) {
        return status;
    }
    status = check_header(wire, size, epoch, &body, err);
    if (status != RDISK_STATUS_OK || !body) {
        return status;
    }
    info = &rdisk_messages[le16toh(wire->type)];
    return info->check ? info->check(data, err) : RDISK_STATUS_OK;
}

void rdisk_wire_text(const struct rdisk_wire_message *message, char *text,
                     size_t size)
{
    const char *words = rdisk_status_text(le16toh(message->status));
    const uint8_t *from = (const uint8_t *)words;
    size_t length = strlen(words);

    if (message->status && message->text_length) {
        from = (const uint8_t *)(message + 1);
        length = le16toh(message->text_length);
    }
    rdisk_wire_copy_text(text, size, from, length);
}
