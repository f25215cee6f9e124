/* SPDX-License-Identifier: BSD-3-Clause */
/* Private data of connections: what is refused, field by field. */
#include <errno.h>

#include "transport/wire/wire.h"
#include "tests/unit/support/unit.h"

static struct rdisk_error err;

/* ---- Connection request ------------------------------------------------ */

/* As a listener sees it: 56 bytes. */
static union {
    struct rdisk_wire_connect wire;
    uint8_t bytes[56];
} request;

static void good_control(void)
{
    memset(&request, 0, sizeof(request));
    memset(&err, 0, sizeof(err));
    request.wire.magic = htole32(RDISK_WIRE_MAGIC);
    request.wire.version = htole16(RDISK_WIRE_VERSION);
}

static void good_data(void)
{
    good_control();
    request.wire.kind = RDISK_LINK_DATA;
    request.wire.queue = htole16(1);
    request.wire.slots = htole16(64);
    request.wire.slot_size = htole32(65536);
}

static enum rdisk_status check_request(void)
{
    return rdisk_wire_check_connect(&request, sizeof(request), &err);
}

static void bad_request(const char *words)
{
    CHECK_EQUAL(check_request(), RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, words);
}

static void good_requests(void)
{
    good_control();
    CHECK_EQUAL(check_request(), RDISK_STATUS_OK);
    good_data();
    CHECK_EQUAL(check_request(), RDISK_STATUS_OK);
}

static void request_of_a_control_connection_is_zero(void)
{
    good_control();
    request.wire.reserved0 = 1;
    bad_request("reserved");
    good_control();
    request.wire.slots = htole16(1);
    bad_request("not zero");
    good_control();
    request.wire.slot_size = htole32(4096);
    bad_request("not zero");
    good_control();
    request.wire.session = htole64(1);
    bad_request("not zero");
    good_control();
    request.wire.epoch = htole64(1);
    bad_request("not zero");
    good_control();
    request.wire.token[15] = 1;
    bad_request("not zero");
    good_data();
    request.wire.reserved0 = 1;
    bad_request("reserved");
}

static void request_of_no_slots(void)
{
    good_data();
    request.wire.slots = 0;
    bad_request("0 slots");
    good_data();
    request.wire.slot_size = 0;
    bad_request("slot size of 0");
}

static void request_without_data(void)
{
    CHECK_EQUAL(rdisk_wire_check_connect(NULL, 0, &err),
                RDISK_STATUS_BAD_MESSAGE);
    good_control();
    CHECK_EQUAL(rdisk_wire_check_connect(&request, 47, &err),
                RDISK_STATUS_BAD_MESSAGE);
}

static void request_of_a_stranger(void)
{
    good_control();
    request.wire.magic = htole32(0x12345678);
    bad_request("not rdisk");
}

static void request_of_another_version(void)
{
    good_control();
    request.wire.version = htole16(2);
    CHECK_EQUAL(check_request(), RDISK_STATUS_BAD_VERSION);
    CHECK_SAYS(err.text, "version 2");
}

static void request_of_unknown_kind(void)
{
    good_data();
    request.wire.kind = 2;
    bad_request("kind");
}

static void control_with_queue(void)
{
    good_control();
    request.wire.queue = htole16(1);
    bad_request("control");
}

static void data_queue_out_of_range(void)
{
    good_data();
    request.wire.queue = 0;
    bad_request("queue index 0");
    request.wire.queue = htole16(RDISK_QUEUES_MAX);
    CHECK_EQUAL(check_request(), RDISK_STATUS_OK);
    request.wire.queue = htole16(RDISK_QUEUES_MAX + 1);
    bad_request("queue index 65");
}

static void slots_out_of_range(void)
{
    good_data();
    request.wire.slots = 0;
    bad_request("0 slots");
    request.wire.slots = htole16(RDISK_SLOTS_MAX);
    CHECK_EQUAL(check_request(), RDISK_STATUS_OK);
    request.wire.slots = htole16(RDISK_SLOTS_MAX + 1);
    bad_request("1025 slots");
}

static void slot_size_out_of_range(void)
{
    good_data();
    request.wire.slot_size = htole32(0);
    bad_request("slot size");
    request.wire.slot_size = htole32(4097);
    bad_request("slot size");
    request.wire.slot_size = htole32(RDISK_SLOT_SIZE_MAX);
    CHECK_EQUAL(check_request(), RDISK_STATUS_OK);
    request.wire.slot_size = htole32(RDISK_SLOT_SIZE_MAX + 4096);
    bad_request("slot size");
}

/* ---- Acceptance -------------------------------------------------------- */

/* As a connecting side sees it: 196 bytes. */
static union {
    struct rdisk_wire_accept wire;
    uint8_t bytes[196];
} reply;

static void good_accept(void)
{
    memset(&reply, 0, sizeof(reply));
    memset(&err, 0, sizeof(err));
    reply.wire = (struct rdisk_wire_accept) {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
        .queue = htole16(2),
        .slots = htole16(8),
        .max_segments = htole16(256),
        .slot_size = htole32(65536),
        .base = htole64(0x7f0000000000),
        .rkey = htole32(77),
        .stride = htole32(RDISK_HEADER_AREA + 65536),
    };
}

static enum rdisk_status check_accept(unsigned int queue)
{
    return rdisk_wire_check_accept(&reply, sizeof(reply), queue, &err);
}

static void bad_accept(const char *words)
{
    CHECK_EQUAL(check_accept(2), RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, words);
}

static void good_accepts(void)
{
    good_accept();
    CHECK_EQUAL(check_accept(2), RDISK_STATUS_OK);
    memset(&reply, 0, sizeof(reply));
    reply.wire.magic = htole32(RDISK_WIRE_MAGIC);
    reply.wire.version = htole16(RDISK_WIRE_VERSION);
    CHECK_EQUAL(check_accept(0), RDISK_STATUS_OK);
}

static void accept_too_short(void)
{
    good_accept();
    CHECK_EQUAL(rdisk_wire_check_accept(&reply, 31, 2, &err),
                RDISK_STATUS_BAD_MESSAGE);
}

static void accept_of_a_stranger(void)
{
    good_accept();
    reply.wire.magic = 0;
    bad_accept("not rdisk");
}

static void accept_of_another_version(void)
{
    good_accept();
    reply.wire.version = htole16(9);
    CHECK_EQUAL(check_accept(2), RDISK_STATUS_BAD_VERSION);
}

static void accept_of_another_queue(void)
{
    good_accept();
    reply.wire.queue = htole16(1);
    bad_accept("queue 1");
}

static void accept_without_slots(void)
{
    good_accept();
    reply.wire.slots = 0;
    bad_accept("0 slots");
}

static void accept_with_odd_slot_size(void)
{
    good_accept();
    reply.wire.slot_size = htole32(1000);
    bad_accept("slot size");
}

static void accept_with_overlapping_slots(void)
{
    good_accept();
    reply.wire.stride = htole32(RDISK_HEADER_AREA + 65535);
    bad_accept("do not fit");
}

static void accept_beyond_the_address_space(void)
{
    good_accept();
    reply.wire.base = htole64(UINT64_MAX - 65536);
    bad_accept("do not fit");
}

static void accept_with_odd_segments(void)
{
    good_accept();
    reply.wire.max_segments = htole16(RDISK_SEGMENTS_MIN - 1);
    bad_accept("segments");
    reply.wire.max_segments = htole16(RDISK_SEGMENTS_MAX + 1);
    bad_accept("segments");
}

/* ---- Rejection --------------------------------------------------------- */

static struct rdisk_wire_reject reject;

static void good_reject(void)
{
    memset(&reject, 0, sizeof(reject));
    reject.magic = htole32(RDISK_WIRE_MAGIC);
    reject.version = htole16(RDISK_WIRE_VERSION);
    reject.status = htole16(RDISK_STATUS_BUSY);
    reject.text_length = htole16(8);
    memcpy(reject.text, "come laternever", 15);
}

static void reject_tells_its_sentence(void)
{
    good_reject();
    CHECK_EQUAL(rdisk_wire_read_reject(&reject, sizeof(reject), &err),
                RDISK_STATUS_BUSY);
    CHECK_EQUAL(err.code, -EBUSY);
    CHECK_SAYS(err.text, "come lat");
    CHECK(!strstr(err.text, "never"));
}

static void reject_of_a_stranger(void)
{
    CHECK_EQUAL(rdisk_wire_read_reject(NULL, 0, &err), RDISK_STATUS_DENIED);
    CHECK_EQUAL(err.code, -ECONNREFUSED);
    CHECK_SAYS(err.text, "no rdisk server");
    memset(&reject, 0, sizeof(reject));
    CHECK_EQUAL(rdisk_wire_read_reject(&reject, sizeof(reject), &err),
                RDISK_STATUS_DENIED);
}

static void reject_with_silly_fields(void)
{
    good_reject();
    reject.status = htole16(RDISK_STATUS_OK);
    CHECK(rdisk_wire_read_reject(&reject, sizeof(reject), &err) !=
          RDISK_STATUS_OK);
    CHECK(err.code < 0);
    good_reject();
    reject.status = htole16(999);
    CHECK(rdisk_wire_read_reject(&reject, sizeof(reject), &err) <
          RDISK_STATUS_COUNT);
    good_reject();
    reject.text_length = htole16(65535);
    memset(reject.text, 'x', sizeof(reject.text));
    rdisk_wire_read_reject(&reject, sizeof(reject), &err);
    CHECK(strlen(err.text) < sizeof(err.text) - 1);
}

static void reject_text_is_made_safe(void)
{
    good_reject();
    memcpy(reject.text, "a\033[2J\nb\177", 8);
    rdisk_wire_read_reject(&reject, sizeof(reject), &err);
    CHECK_SAYS(err.text, "a?[2J?b?");
}

/* ---- Behind an acceptance ---------------------------------------------- */

static void accept_of_a_resident_volume(void)
{
    struct rdisk_wire_accept_resident wire = {
        .resident.address = htole64(UINT64_MAX - 4096),
        .resident.key = htole32(7),
        .resident.reads = htole16(16),
    };
    struct rdisk_wire_resident resident;

    CHECK_EQUAL(rdisk_wire_check_resident(&wire, sizeof(wire), 4096, &resident,
                                          &err),
                RDISK_STATUS_OK);
    CHECK_EQUAL(le32toh(resident.key), 7);
    CHECK_EQUAL(le16toh(resident.reads), 16);
    CHECK_EQUAL(rdisk_wire_check_resident(&wire, sizeof(wire), 4097, &resident,
                                          &err),
                RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, "does not fit");
    CHECK_EQUAL(rdisk_wire_check_resident(&wire, sizeof(wire) - 1, 4096,
                                          &resident, &err),
                RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, "of a resident volume 48");
    wire.resident.reserved = htole16(1);
    CHECK_EQUAL(rdisk_wire_check_resident(&wire, sizeof(wire), 4096, &resident,
                                          &err),
                RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, "reserved");
}

static const struct unit_test tests[] = {
    { "requests for control and data are taken", good_requests },
    { "what a control connection has no use for is zero",
      request_of_a_control_connection_is_zero },
    { "a queue without slots is refused", request_of_no_slots },
    { "a request without enough private data is refused",
      request_without_data },
    { "a request of a stranger is refused", request_of_a_stranger },
    { "a request of another version is refused as such",
      request_of_another_version },
    { "a request of unknown kind is refused", request_of_unknown_kind },
    { "a control request that names a queue is refused", control_with_queue },
    { "a data queue's index is 1 to 64", data_queue_out_of_range },
    { "a request's slots are 1 to 1024", slots_out_of_range },
    { "a request's slot size is whole pages up to 4 MiB",
      slot_size_out_of_range },
    { "acceptances for control and data are taken", good_accepts },
    { "an acceptance cut short is refused", accept_too_short },
    { "an acceptance of a stranger is refused", accept_of_a_stranger },
    { "an acceptance of another version is refused as such",
      accept_of_another_version },
    { "an acceptance for another queue is refused", accept_of_another_queue },
    { "an acceptance without slots is refused", accept_without_slots },
    { "an acceptance with an odd slot size is refused",
      accept_with_odd_slot_size },
    { "an acceptance with overlapping slots is refused",
      accept_with_overlapping_slots },
    { "an acceptance beyond the address space is refused",
      accept_beyond_the_address_space },
    { "an acceptance with a segment limit out of range is refused",
      accept_with_odd_segments },
    { "a rejection's status and sentence reach the user",
      reject_tells_its_sentence },
    { "a rejection by something else is explained", reject_of_a_stranger },
    { "a rejection with silly fields is a rejection still",
      reject_with_silly_fields },
    { "a rejection's sentence cannot write to a terminal",
      reject_text_is_made_safe },
    { "an acceptance of a resident volume says where all of it is",
      accept_of_a_resident_volume },
};

UNIT_SUITE("wire-connect", tests)
