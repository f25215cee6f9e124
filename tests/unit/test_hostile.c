/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that keeps no protocol, against a server with an honest client:
 * the server and the honest client are unharmed, whatever it does.
 */
#include <errno.h>
#include <stdlib.h>

#include "raw.h"
#include "scene.h"
#include "unit.h"

static struct scene scene;
static struct scene_client *honest = &scene.clients[1];
static struct raw control, data;
static struct rdisk_wire_accept lease;
static struct rdisk_wire_open_reply granted;
static uint8_t buffer[4096];

/* Where the control messages lie in control.buffer. */
#define SAY     8192u
#define HEAR    0u

/* ---- Manners ----------------------------------------------------------- */

static void fill_connect(struct rdisk_wire_connect *wire)
{
    memset(wire, 0, sizeof(*wire));
    wire->magic = htole32(RDISK_WIRE_MAGIC);
    wire->version = htole16(RDISK_WIRE_VERSION);
}

static bool connected(struct raw *raw)
{
    scene_pump(&scene);
    return raw_event(raw) && raw->event == RDMA_CM_EVENT_ESTABLISHED;
}

static void connect_control(void)
{
    struct rdisk_wire_connect wire;

    fill_connect(&wire);
    raw_connect_start(&control, "10.0.0.1", SCENE_PORT, &wire, sizeof(wire));
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(raw_receive(&control, HEAR + i * 512, 512), 0);
    }
    REQUIRE(connected(&control));
}

/* @max_qp_wr is the limit of the server's device. */
static void begin_limited(uint64_t seed, int max_qp_wr)
{
    scene_begin(&scene, seed);
    fake_host_limits(scene.server_host)->max_qp_wr = max_qp_wr;
    REQUIRE(scene_connect(honest));
    raw_init(&control, scene.fabric, scene.clients[0].host);
    raw_init(&data, scene.fabric, scene.clients[0].host);
    connect_control();
}

static void begin(uint64_t seed)
{
    begin_limited(seed, 16384);
}

/* The honest client notices nothing. */
static void end(void)
{
    scene_pattern(buffer, sizeof(buffer), 77);
    CHECK_EQUAL(scene_do(honest, RDISK_OP_WRITE, 4096, buffer, 4096), 0);
    CHECK_EQUAL(scene_do(honest, RDISK_OP_READ, 4096, buffer, 4096), 0);
    CHECK(scene_is_pattern(buffer, sizeof(buffer), 77));
    raw_destroy(&data);
    raw_destroy(&control);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    CHECK_EQUAL(honest->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

/* Send what lies at SAY; the answer, or NULL if none came. */
static struct rdisk_wire_message *say(size_t size)
{
    struct ibv_wc wc;

    CHECK_EQUAL(raw_send(&control, SAY, (uint32_t)size), 0);
    scene_pump(&scene);
    while (raw_poll(&control, &wc)) {
        if (wc.status == IBV_WC_SUCCESS && (wc.wr_id & RAW_RECV)) {
            uint32_t offset = (uint32_t)wc.wr_id;

            CHECK_EQUAL(raw_receive(&control, offset, 512), 0);
            return (void *)(control.buffer + offset);
        }
    }
    return NULL;
}

static void *message(enum rdisk_message_type type, size_t size)
{
    struct rdisk_wire_message *header = (void *)(control.buffer + SAY);

    memset(header, 0, 1024);
    header->magic = htole32(RDISK_WIRE_MAGIC);
    header->version = htole16(RDISK_WIRE_VERSION);
    header->type = htole16(type);
    header->length = htole32(size);
    return header;
}

static struct rdisk_wire_open *open_message(void)
{
    struct rdisk_wire_open *open = message(RDISK_MSG_OPEN, sizeof(*open));

    open->epoch = htole64(5);
    open->queues = htole16(2);
    open->slots = htole16(4);
    open->slot_size = htole32(8192);
    open->name_length = htole16(3);
    memcpy(open->name, "vol", 3);
    return open;
}

static void open_volume(void)
{
    struct rdisk_wire_message *reply;

    message(RDISK_MSG_HELLO, sizeof(struct rdisk_wire_hello));
    reply = say(sizeof(struct rdisk_wire_hello));
    REQUIRE(reply && le16toh(reply->type) == RDISK_MSG_HELLO_REPLY);
    open_message();
    reply = say(sizeof(struct rdisk_wire_open));
    REQUIRE(reply && le16toh(reply->type) == RDISK_MSG_OPEN_REPLY &&
            le16toh(reply->status) == RDISK_STATUS_OK);
    memcpy(&granted, reply, sizeof(granted));
}

static void fill_join(struct rdisk_wire_connect *wire)
{
    fill_connect(wire);
    wire->kind = RDISK_LINK_DATA;
    wire->queue = htole16(1);
    wire->slots = htole16(4);
    wire->slot_size = htole32(8192);
    wire->session = granted.session;
    wire->epoch = htole64(5);
    memcpy(wire->token, granted.token, sizeof(wire->token));
}

static void join(void)
{
    struct rdisk_wire_connect wire;

    open_volume();
    fill_join(&wire);
    raw_connect_start(&data, "10.0.0.1", SCENE_PORT, &wire, sizeof(wire));
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(raw_receive(&data, 0, 0), 0);
    }
    REQUIRE(connected(&data));
    memcpy(&lease, data.data, sizeof(lease));
    CHECK_EQUAL(le16toh(lease.slots), 4);
}

/* ---- Requests ---------------------------------------------------------- */

/* A good write of one block in slot 0 with sequence 0, to be spoilt. */
static struct rdisk_wire_request *request(void)
{
    struct rdisk_wire_request *wire = (void *)(data.buffer + 8192);

    memset(wire, 0, sizeof(*wire));
    wire->opcode = RDISK_OP_WRITE;
    wire->length = htole32(512);
    wire->epoch = htole64(5);
    return wire;
}

static uint64_t header_address(unsigned int slot)
{
    return le64toh(lease.base) + (uint64_t)slot * le32toh(lease.stride) +
           RDISK_HEADER_AREA - sizeof(struct rdisk_wire_request);
}

static void send_request(unsigned int slot, uint32_t imm)
{
    CHECK_EQUAL(raw_write(&data, 8192, sizeof(struct rdisk_wire_request),
                          header_address(slot), le32toh(lease.rkey), imm), 0);
    scene_pump(&scene);
}

/* The next answer's immediate; -1 if the connection has ended instead. */
static int64_t answer(void)
{
    struct ibv_wc wc;

    while (raw_poll(&data, &wc)) {
        if (wc.status != IBV_WC_SUCCESS) {
            return -1;
        }
        if (wc.wr_id & RAW_RECV) {
            return ntohl(wc.imm_data);
        }
    }
    return -2;
}

static char bye_text[RDISK_TEXT_MAX + 1];

/* The server has ended the session, and told why. */
static void thrown_out(void)
{
    struct ibv_wc wc;
    bool bye = false;

    scene_pump(&scene);
    while (raw_poll(&control, &wc)) {
        struct rdisk_wire_message *header =
            (void *)(control.buffer + (uint32_t)wc.wr_id);

        if (wc.status == IBV_WC_SUCCESS && (wc.wr_id & RAW_RECV) &&
            le16toh(header->type) == RDISK_MSG_BYE) {
            bye = true;
            rdisk_wire_text(header, bye_text, sizeof(bye_text));
            CHECK_EQUAL(le16toh(header->status), RDISK_STATUS_BAD_MESSAGE);
        }
    }
    CHECK(bye);
    scene_advance(&scene, 3000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
}

static void good_request_works(void)
{
    begin(1);
    join();
    request();
    send_request(0, rdisk_imm_request(0, 0));
    CHECK_EQUAL(answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    end();
}

/* A spoilt request ends the session and reaches no owner. */
static void ends_session(unsigned int slot, uint32_t imm)
{
    unsigned int before = scene.requests;

    send_request(slot, imm);
    CHECK(answer() < 0);
    thrown_out();
    CHECK_EQUAL(scene.requests, before);
    end();
}

static void garbage_header(void)
{
    begin(1);
    join();
    memset(request(), 0xff, sizeof(struct rdisk_wire_request));
    ends_session(0, rdisk_imm_request(0, 0xffff));
}

static void wrong_slot(void)
{
    begin(1);
    join();
    request()->slot = htole16(1);
    ends_session(0, rdisk_imm_request(0, 0));
}

static void slot_beyond_lease(void)
{
    begin(1);
    join();
    request();
    ends_session(0, rdisk_imm_request(4, 0));
}

static void slot_far_beyond_lease(void)
{
    begin(1);
    join();
    request();
    ends_session(0, rdisk_imm_request(0xffff, 0xffff));
}

static void wrong_sequence(void)
{
    begin(1);
    join();
    request();
    ends_session(0, rdisk_imm_request(0, 1));
}

static void stale_epoch(void)
{
    begin(1);
    join();
    request()->epoch = htole64(4);
    ends_session(0, rdisk_imm_request(0, 0));
}

static void longer_than_slot(void)
{
    begin(1);
    join();
    request()->length = htole32(8192 + 512);
    ends_session(0, rdisk_imm_request(0, 0));
}

static void huge_length(void)
{
    begin(1);
    join();
    request()->length = htole32(UINT32_MAX - 511);
    ends_session(0, rdisk_imm_request(0, 0));
}

static void huge_segment_count(void)
{
    struct rdisk_wire_request *wire;

    begin(1);
    join();
    wire = request();
    wire->opcode = RDISK_OP_READ;
    wire->segments = htole16(0xffff);
    ends_session(0, rdisk_imm_request(0, 0));
}

static void more_segments_than_agreed(void)
{
    struct rdisk_wire_request *wire;
    uint32_t size = 64 + 101 * 16;

    begin_limited(1, 200);
    join();
    CHECK_EQUAL(le16toh(lease.max_segments), 100);
    wire = request();
    wire->opcode = RDISK_OP_READ;
    wire->segments = htole16(101);
    wire->length = htole32(8192);
    CHECK_EQUAL(raw_write(&data, 8192 + 64 - size, size,
                          header_address(0) + 64 - size, le32toh(lease.rkey),
                          rdisk_imm_request(0, 0)), 0);
    scene_pump(&scene);
    CHECK(answer() < 0);
    thrown_out();
    CHECK_SAYS(bye_text, "agreed were 100");
    end();
}

/* A read whose only segment has @bytes. */
static void read_request(uint32_t bytes, uint64_t address, uint32_t key)
{
    struct rdisk_wire_request *wire = request();
    struct rdisk_wire_segment *segment =
        (struct rdisk_wire_segment *)wire - 1;

    wire->opcode = RDISK_OP_READ;
    wire->segments = htole16(1);
    segment->address = htole64(address);
    segment->length = htole32(bytes);
    segment->key = htole32(key);
    CHECK_EQUAL(raw_write(&data, 8192 - 16, 64 + 16, header_address(0) - 16,
                          le32toh(lease.rkey), rdisk_imm_request(0, 0)), 0);
    scene_pump(&scene);
}

static void good_read_works(void)
{
    begin(1);
    join();
    scene_pattern(scene.disk, 512, 3);
    read_request(512, (uintptr_t)data.buffer, data.mr->rkey);
    CHECK_EQUAL(answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    CHECK(scene_is_pattern(data.buffer, 512, 3));
    end();
}

static void segments_too_short(void)
{
    begin(1);
    join();
    read_request(511, (uintptr_t)data.buffer, data.mr->rkey);
    CHECK(answer() < 0);
    thrown_out();
    end();
}

static void segments_too_long(void)
{
    begin(1);
    join();
    read_request(8192, (uintptr_t)data.buffer, data.mr->rkey);
    CHECK(answer() < 0);
    thrown_out();
    end();
}

static void segment_with_wrong_key(void)
{
    begin(1);
    join();
    read_request(512, (uintptr_t)data.buffer, 0x1234567);
    CHECK(answer() < 0);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    end();
}

static void busy_slot(void)
{
    begin(1);
    join();
    scene.park = true;
    request();
    send_request(0, rdisk_imm_request(0, 0));
    CHECK_EQUAL(scene.parked_count, 1);
    request()->sequence = htole32(1);
    send_request(0, rdisk_imm_request(0, 1));
    CHECK_EQUAL(scene.parked_count, 1);
    /* The owner still holds the first: only then can the queue end. */
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 2);
    scene.park = false;
    scene_unpark(&scene, 1);
    CHECK(answer() < 0);
    thrown_out();
    end();
}

static void header_changes_after_the_check(void)
{
    begin(1);
    join();
    scene.park = true;
    request()->offset = htole64(512);
    send_request(0, rdisk_imm_request(0, 0));
    REQUIRE(scene.parked_count == 1);
    /* Another offset, length and operation, without a word. */
    memset(data.buffer + 8192, 0xff, 64);
    CHECK_EQUAL(raw_write(&data, 8192, 64, header_address(0),
                          le32toh(lease.rkey), -1), 0);
    scene_pump(&scene);
    CHECK_EQUAL(scene.parked[0]->offset, 512);
    CHECK_EQUAL(scene.parked[0]->length, 512);
    CHECK_EQUAL(scene.parked[0]->op, RDISK_OP_WRITE);
    scene.park = false;
    scene_unpark(&scene, 1);
    scene_pump(&scene);
    CHECK_EQUAL(answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    end();
}

static void refusals_keep_the_connection(void)
{
    static const struct {
        uint8_t opcode, flags;
        uint32_t length;
        uint64_t offset;
        enum rdisk_status status;
    } cases[] = {
        { RDISK_OP_WRITE, 0, 100, 0, RDISK_STATUS_MISALIGNED },
        { RDISK_OP_WRITE, 0, 512, 100, RDISK_STATUS_MISALIGNED },
        { RDISK_OP_WRITE, 0, 0, 0, RDISK_STATUS_MISALIGNED },
        { RDISK_OP_WRITE, 0, 512, SCENE_SIZE, RDISK_STATUS_OUT_OF_RANGE },
        { RDISK_OP_WRITE, 0, 512, UINT64_MAX - 511,
          RDISK_STATUS_OUT_OF_RANGE },
        { RDISK_OP_WRITE, 0x80, 512, 0, RDISK_STATUS_UNSUPPORTED },
        { 99, 0, 512, 0, RDISK_STATUS_UNSUPPORTED },
        { RDISK_OP_WRITE, 0, 512, 0, RDISK_STATUS_OK },
    };

    begin(1);
    join();
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rdisk_wire_request *wire = request();

        wire->opcode = cases[i].opcode;
        wire->flags = cases[i].flags;
        wire->length = htole32(cases[i].length);
        wire->offset = htole64(cases[i].offset);
        wire->sequence = htole32(i);
        wire->slot = htole16(2);
        send_request(2, rdisk_imm_request(2, i));
        CHECK_EQUAL(answer(), rdisk_imm_answer(2, i, cases[i].status));
    }
    CHECK_EQUAL(scene.requests, 1);
    end();
}

static void message_on_a_data_queue(void)
{
    begin(1);
    join();
    CHECK_EQUAL(raw_send(&data, 0, 16), 0);
    scene_advance(&scene, 3000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    end();
}

static void flood_of_requests(void)
{
    begin(1);
    join();
    scene.park = true;
    /* More than the server has receives for: the device pushes back. */
    for (uint32_t i = 0; i < RAW_DEPTH; i++) {
        struct rdisk_wire_request *wire = request();

        wire->slot = htole16((uint16_t)(i % 4));
        wire->sequence = htole32(i);
        raw_write(&data, 8192, sizeof(*wire), header_address(i % 4),
                  le32toh(lease.rkey), rdisk_imm_request(i % 4, i));
        fake_fabric_run(scene.fabric);
    }
    scene_pump(&scene);
    scene.park = false;
    scene_unpark(&scene, scene.parked_count);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    end();
}

/* ---- Keys and names ---------------------------------------------------- */

static void other_sessions_memory(void)
{
    void *memory;
    size_t length;

    begin(1);
    join();
    rdisk_target_queue_memory(scene.queues[0].queue, &memory, &length);
    memset(data.buffer, 0xee, 512);
    CHECK_EQUAL(raw_write(&data, 0, 512, (uintptr_t)memory,
                          le32toh(lease.rkey), -1), 0);
    scene_advance(&scene, 20000);
    CHECK(answer() < 0);
    CHECK(((uint8_t *)memory)[0] != 0xee);
    end();
}

static void join_fails(const struct rdisk_wire_connect *wire,
                       enum rdisk_status status)
{
    const struct rdisk_wire_reject *reject = (void *)data.data;

    raw_connect_start(&data, "10.0.0.1", SCENE_PORT, wire, sizeof(*wire));
    CHECK(!connected(&data));
    CHECK_EQUAL(data.event, RDMA_CM_EVENT_REJECTED);
    CHECK_EQUAL(le16toh(reject->status), status);
    CHECK(le16toh(reject->text_length) > 0);
    end();
}

static void join_without_token(void)
{
    struct rdisk_wire_connect wire;

    begin(1);
    open_volume();
    fill_join(&wire);
    wire.token[15] ^= 1;
    join_fails(&wire, RDISK_STATUS_STALE);
}

static void join_of_no_session(void)
{
    struct rdisk_wire_connect wire;

    begin(1);
    open_volume();
    fill_join(&wire);
    wire.session ^= 1;
    join_fails(&wire, RDISK_STATUS_STALE);
}

static void join_of_old_epoch(void)
{
    struct rdisk_wire_connect wire;

    begin(1);
    open_volume();
    fill_join(&wire);
    wire.epoch = htole64(4);
    join_fails(&wire, RDISK_STATUS_STALE);
}

static void join_beyond_grant(void)
{
    struct rdisk_wire_connect wire;

    begin(1);
    open_volume();
    fill_join(&wire);
    wire.queue = htole16(3);
    join_fails(&wire, RDISK_STATUS_BAD_MESSAGE);
}

static void join_with_more_slots(void)
{
    struct rdisk_wire_connect wire;

    begin(1);
    open_volume();
    fill_join(&wire);
    wire.slots = htole16(5);
    join_fails(&wire, RDISK_STATUS_BAD_MESSAGE);
}

static void join_twice(void)
{
    const struct rdisk_wire_reject *reject;
    struct rdisk_wire_connect wire;
    struct raw again;

    begin(1);
    join();
    fill_join(&wire);
    raw_init(&again, scene.fabric, scene.clients[0].host);
    raw_connect_start(&again, "10.0.0.1", SCENE_PORT, &wire, sizeof(wire));
    CHECK(!connected(&again));
    reject = (void *)again.data;
    CHECK_EQUAL(le16toh(reject->status), RDISK_STATUS_BAD_MESSAGE);
    raw_destroy(&again);
    /* The first one is unharmed. */
    request();
    send_request(0, rdisk_imm_request(0, 0));
    CHECK_EQUAL(answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    end();
}

static void garbage_request_to_connect(void)
{
    uint8_t garbage[56];

    begin(1);
    memset(garbage, 0x5a, sizeof(garbage));
    raw_connect_start(&data, "10.0.0.1", SCENE_PORT, garbage,
                      sizeof(garbage));
    CHECK(!connected(&data));
    CHECK_EQUAL(data.event, RDMA_CM_EVENT_REJECTED);
    end();
}

static void other_version(void)
{
    const struct rdisk_wire_reject *reject = (void *)data.data;
    struct rdisk_wire_connect wire;

    begin(1);
    fill_connect(&wire);
    wire.version = htole16(2);
    raw_connect_start(&data, "10.0.0.1", SCENE_PORT, &wire, sizeof(wire));
    CHECK(!connected(&data));
    CHECK_EQUAL(le16toh(reject->status), RDISK_STATUS_BAD_VERSION);
    CHECK_EQUAL(le16toh(reject->version), RDISK_WIRE_VERSION);
    CHECK(!memcmp(reject->text, "the peer speaks protocol version 2", 34));
    end();
}

/* ---- Messages ---------------------------------------------------------- */

static void garbage_message(void)
{
    struct rdisk_wire_message *reply;

    begin(1);
    memset(control.buffer + SAY, 0xa5, 512);
    reply = say(512);
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), RDISK_MSG_BYE);
    CHECK_EQUAL(le16toh(reply->status), RDISK_STATUS_BAD_MESSAGE);
    end();
}

static void overlong_message(void)
{
    begin(1);
    CHECK_EQUAL(raw_send(&control, SAY, 513), 0);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    end();
}

static void empty_message(void)
{
    struct rdisk_wire_message *reply;

    begin(1);
    reply = say(0);
    CHECK(reply && le16toh(reply->type) == RDISK_MSG_BYE);
    end();
}

static void open_before_hello(void)
{
    struct rdisk_wire_message *reply;

    begin(1);
    open_message();
    reply = say(sizeof(struct rdisk_wire_open));
    CHECK(reply && le16toh(reply->type) == RDISK_MSG_BYE);
    CHECK_EQUAL(scene.opens, 1);
    end();
}

static void open_twice(void)
{
    struct rdisk_wire_message *reply;

    begin(1);
    open_volume();
    open_message()->message.epoch = htole64(5);
    reply = say(sizeof(struct rdisk_wire_open));
    CHECK(reply && le16toh(reply->type) == RDISK_MSG_BYE);
    CHECK_EQUAL(scene.opens, 2);
    end();
}

static void unknown_required_feature(void)
{
    struct rdisk_wire_message *reply;
    struct rdisk_wire_hello *hello;
    char text[RDISK_TEXT_MAX + 1];

    begin(1);
    hello = message(RDISK_MSG_HELLO, sizeof(*hello));
    hello->features = htole64(UINT64_MAX);
    hello->required = htole64(1ull << 40);
    reply = say(sizeof(*hello));
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), RDISK_MSG_HELLO_REPLY);
    CHECK_EQUAL(le16toh(reply->status), RDISK_STATUS_UNSUPPORTED);
    rdisk_wire_text(reply, text, sizeof(text));
    CHECK_SAYS(text, "0x10000000000");
    end();
}

static void unknown_offered_feature(void)
{
    struct rdisk_wire_hello *hello;

    begin(1);
    hello = message(RDISK_MSG_HELLO, sizeof(*hello));
    hello->features = htole64(UINT64_MAX);
    hello = (void *)say(sizeof(*hello));
    REQUIRE(hello != NULL);
    CHECK_EQUAL(le16toh(hello->message.status), RDISK_STATUS_OK);
    CHECK_EQUAL(le64toh(hello->features), RDISK_FEATURES_KNOWN);
    end();
}

static void bad_name_is_answered(void)
{
    struct rdisk_wire_message *reply;

    begin(1);
    message(RDISK_MSG_HELLO, sizeof(struct rdisk_wire_hello));
    REQUIRE(say(sizeof(struct rdisk_wire_hello)) != NULL);
    memcpy(open_message()->name, "../", 3);
    reply = say(sizeof(struct rdisk_wire_open));
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), RDISK_MSG_OPEN_REPLY);
    CHECK_EQUAL(le16toh(reply->status), RDISK_STATUS_NO_VOLUME);
    end();
}

static void flood_of_pings(void)
{
    begin(1);
    open_volume();
    for (unsigned int i = 0; i < 200; i++) {
        struct rdisk_wire_ping *ping = message(RDISK_MSG_PING, sizeof(*ping));
        struct ibv_wc wc;

        ping->message.epoch = htole64(5);
        raw_send(&control, SAY, sizeof(*ping));
        fake_fabric_run(scene.fabric);
        if (i % 5 == 0) {
            scene_pump(&scene);
        }
        while (raw_poll(&control, &wc)) {
            /* Never gives a receive back: the server's answers pile up. */
        }
    }
    scene_advance(&scene, 20000);
    end();
}

/* ---- Chance ------------------------------------------------------------ */

static void random_requests(void)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        begin(seed);
        join();
        for (unsigned int i = 0; i < 6; i++) {
            uint8_t *bytes = (uint8_t *)request() - 64;
            unsigned int slot = (unsigned int)fake_fabric_random(
                scene.fabric, 4);
            uint32_t imm = rdisk_imm_request((uint16_t)slot, i);

            ((struct rdisk_wire_request *)(bytes + 64))->slot =
                htole16((uint16_t)slot);
            ((struct rdisk_wire_request *)(bytes + 64))->sequence =
                htole32(i);
            for (unsigned int j = 0; j < i; j++) {
                bytes[fake_fabric_random(scene.fabric, 128)] =
                    (uint8_t)fake_fabric_random(scene.fabric, 256);
            }
            raw_write(&data, 8192 - 64, 128, header_address(slot) - 64,
                      le32toh(lease.rkey), imm);
            scene_pump(&scene);
        }
        end();
    }
}

static void random_messages(void)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        begin(seed);
        if (seed % 2) {
            open_volume();
        } else {
            message(RDISK_MSG_HELLO, sizeof(struct rdisk_wire_hello));
            say(sizeof(struct rdisk_wire_hello));
        }
        for (unsigned int i = 0; i < 3; i++) {
            uint8_t *bytes = (uint8_t *)open_message();

            bytes[16] = 5;
            bytes[6] = (uint8_t)fake_fabric_random(scene.fabric, 10);
            for (unsigned int j = 0; j < 1 + i; j++) {
                bytes[fake_fabric_random(scene.fabric, 216)] =
                    (uint8_t)fake_fabric_random(scene.fabric, 256);
            }
            say(seed % 3 ? 216 : fake_fabric_random(scene.fabric, 513));
        }
        end();
    }
}

static const struct unit_test tests[] = {
    { "(a good write by hand works)", good_request_works },
    { "(a good read by hand works)", good_read_works },
    { "a garbage header ends the session", garbage_header },
    { "a header of another slot ends the session", wrong_slot },
    { "a slot beyond the lease ends the session", slot_beyond_lease },
    { "a slot far beyond the lease ends the session",
      slot_far_beyond_lease },
    { "a wrong sequence ends the session", wrong_sequence },
    { "a stale epoch ends the session", stale_epoch },
    { "a length beyond the slot ends the session", longer_than_slot },
    { "a huge length ends the session", huge_length },
    { "a huge count of segments ends the session", huge_segment_count },
    { "more segments than the lease allows end the session",
      more_segments_than_agreed },
    { "segments shorter than the read end the session",
      segments_too_short },
    { "segments longer than the read end the session", segments_too_long },
    { "a segment with a wrong key ends the session",
      segment_with_wrong_key },
    { "a request in a busy slot ends the session, after the first",
      busy_slot },
    { "a header changed after its check changes nothing",
      header_changes_after_the_check },
    { "a refused request keeps the connection",
      refusals_keep_the_connection },
    { "a message on a data queue ends the session",
      message_on_a_data_queue },
    { "a flood of requests ends the session", flood_of_requests },
    { "one session's key does not open another's slots",
      other_sessions_memory },
    { "a queue without the token may not join", join_without_token },
    { "a queue of no session may not join", join_of_no_session },
    { "a queue of an old epoch may not join", join_of_old_epoch },
    { "a queue beyond the grant may not join", join_beyond_grant },
    { "a queue with more slots than granted may not join",
      join_with_more_slots },
    { "a queue may not join twice", join_twice },
    { "a garbage connection request is rejected",
      garbage_request_to_connect },
    { "another version is rejected with a sentence", other_version },
    { "a garbage message ends the session", garbage_message },
    { "an overlong message ends the session", overlong_message },
    { "an empty message ends the session", empty_message },
    { "OPEN before HELLO ends the session", open_before_hello },
    { "a second OPEN ends the session", open_twice },
    { "an unknown required feature is named", unknown_required_feature },
    { "an unknown offered feature is not chosen", unknown_offered_feature },
    { "a volume name out of the rules is answered", bad_name_is_answered },
    { "a flood of pings harms nobody else", flood_of_pings },
    { "random requests harm nobody else", random_requests },
    { "random messages harm nobody else", random_messages },
};

UNIT_SUITE("hostile", tests)
