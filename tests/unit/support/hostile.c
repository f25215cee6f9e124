/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/hostile.h"

#include <arpa/inet.h>

#include "tests/unit/support/message.h"
#include "tests/unit/support/unit.h"

#define HEAR 0u /* the same of those that come */

struct scene hostile_scene;
struct scene_client *const honest = &hostile_scene.clients[1];
struct raw control, data;
struct rdisk_wire_accept lease;
uint64_t hostile_features;
char bye_text[RDISK_TEXT_MAX + 1];
static struct rdisk_wire_open_reply granted;
static uint8_t buffer[4096];

/* ---- Manners ----------------------------------------------------------- */

void hostile_fill_connect(struct rdisk_wire_connect *wire)
{
    memset(wire, 0, sizeof(*wire));
    wire->magic = htole32(RDISK_WIRE_MAGIC);
    wire->version = htole16(RDISK_WIRE_VERSION);
}

bool hostile_connected(struct raw *raw)
{
    scene_pump(&hostile_scene);
    return raw_event(raw) && raw->event == RDMA_CM_EVENT_ESTABLISHED;
}

static void connect_control(void)
{
    struct rdisk_wire_connect wire;

    hostile_fill_connect(&wire);
    raw_connect_start(&control, "10.0.0.1", SCENE_PORT, &wire, sizeof(wire));
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(raw_receive(&control, HEAR + i * 512, 512), 0);
    }
    REQUIRE(hostile_connected(&control));
}

static void begin(void)
{
    scene_serve(&hostile_scene);
    REQUIRE(hostile_scene.target != NULL);
    REQUIRE(scene_connect(honest));
    raw_init(&control, hostile_scene.fabric, hostile_scene.clients[0].host);
    raw_init(&data, hostile_scene.fabric, hostile_scene.clients[0].host);
    connect_control();
}

/* @max_qp_wr is the limit of the server's device. */
void hostile_begin_limited(uint64_t seed, int max_qp_wr)
{
    scene_prepare(&hostile_scene, seed);
    fake_host_limits(hostile_scene.server_host)->max_qp_wr = max_qp_wr;
    begin();
}

void hostile_begin_older(uint64_t seed, uint64_t withheld)
{
    scene_prepare(&hostile_scene, seed);
    hostile_scene.options.withheld_features = withheld | RDISK_FEATURE_SLOTS;
    begin();
}

void hostile_begin_stranger(uint64_t seed, const char *user, const char *secret)
{
    scene_prepare(&hostile_scene, seed);
    scene_authenticate(&hostile_scene, user, secret);
    begin();
}

void hostile_begin(uint64_t seed)
{
    hostile_begin_limited(seed, 16384);
}

/* The honest client notices nothing. */
void hostile_end(void)
{
    scene_pattern(buffer, sizeof(buffer), 77);
    CHECK_EQUAL(scene_do(honest, RDISK_OP_WRITE, 4096, buffer, 4096), 0);
    CHECK_EQUAL(scene_do(honest, RDISK_OP_READ, 4096, buffer, 4096), 0);
    CHECK(scene_is_pattern(buffer, sizeof(buffer), 77));
    hostile_features = 0;
    raw_destroy(&data);
    raw_destroy(&control);
    scene_advance(&hostile_scene, 20000);
    CHECK_EQUAL(rdisk_target_sessions(hostile_scene.target), 1);
    CHECK_EQUAL(honest->state, RDISK_INITIATOR_READY);
    scene_end(&hostile_scene);
}

/* Send what lies at HOSTILE_SAY; the answer, or NULL if none came. */
struct rdisk_wire_message *hostile_say(size_t size)
{
    struct ibv_wc wc;

    CHECK_EQUAL(raw_send(&control, HOSTILE_SAY, (uint32_t)size), 0);
    scene_pump(&hostile_scene);
    while (raw_poll(&control, &wc)) {
        if (wc.status == IBV_WC_SUCCESS && (wc.wr_id & RAW_RECV)) {
            uint32_t offset = (uint32_t)wc.wr_id;

            CHECK_EQUAL(raw_receive(&control, offset, 512), 0);
            return (void *)(control.buffer + offset);
        }
    }
    return NULL;
}

void *hostile_message(enum rdisk_message_type type, size_t size)
{
    struct rdisk_wire_message *header = (void *)(control.buffer + HOSTILE_SAY);

    memset(header, 0, 1024);
    message_fill(header, type, size);
    return header;
}

struct rdisk_wire_open *hostile_open_message(void)
{
    struct rdisk_wire_open *open = hostile_message(RDISK_MSG_OPEN,
                                                   sizeof(*open));

    open->epoch = htole64(5);
    open->queues = htole16(2);
    open->slots = htole16(4);
    open->slot_size = htole32(8192);
    open->name_length = htole16(3);
    memcpy(open->name, "vol", 3);
    return open;
}

void hostile_open_volume(void)
{
    struct rdisk_wire_message *reply;
    struct rdisk_wire_hello *hello = hostile_message(RDISK_MSG_HELLO,
                                                     sizeof(*hello));

    hello->features = htole64(hostile_features);
    reply = hostile_say(sizeof(struct rdisk_wire_hello));
    REQUIRE(reply && le16toh(reply->type) == RDISK_MSG_HELLO_REPLY);
    hostile_open_message();
    reply = hostile_say(sizeof(struct rdisk_wire_open));
    REQUIRE(reply && le16toh(reply->type) == RDISK_MSG_OPEN_REPLY &&
            le16toh(reply->status) == RDISK_STATUS_OK);
    memcpy(&granted, reply, sizeof(granted));
}

void hostile_fill_join(struct rdisk_wire_connect *wire)
{
    hostile_fill_connect(wire);
    wire->kind = RDISK_LINK_DATA;
    wire->queue = htole16(1);
    wire->slots = htole16(4);
    wire->slot_size = htole32(8192);
    wire->session = granted.session;
    wire->epoch = htole64(5);
    memcpy(wire->token, granted.token, sizeof(wire->token));
}

void hostile_join(void)
{
    struct rdisk_wire_connect wire;

    hostile_open_volume();
    hostile_fill_join(&wire);
    raw_connect_start(&data, "10.0.0.1", SCENE_PORT, &wire, sizeof(wire));
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(raw_receive(&data, 0, 0), 0);
    }
    REQUIRE(hostile_connected(&data));
    memcpy(&lease, data.data, sizeof(lease));
    CHECK_EQUAL(le16toh(lease.slots), 4);
}

/* ---- Requests ---------------------------------------------------------- */

/* A good write of one block in slot 0 with sequence 0, to be spoilt. */
struct rdisk_wire_request *hostile_request(void)
{
    struct rdisk_wire_request *wire = (void *)(data.buffer + 8192);

    memset(wire, 0, sizeof(*wire));
    wire->opcode = RDISK_OP_WRITE;
    wire->length = htole32(512);
    wire->epoch = htole64(5);
    return wire;
}

uint64_t hostile_header_address(unsigned int slot)
{
    return le64toh(lease.base) + (uint64_t)slot * le32toh(lease.stride) +
           RDISK_HEADER_AREA - sizeof(struct rdisk_wire_request);
}

void hostile_send_request(unsigned int slot, uint32_t imm)
{
    CHECK_EQUAL(raw_write(&data, 8192, sizeof(struct rdisk_wire_request),
                          hostile_header_address(slot), le32toh(lease.rkey),
                          imm),
                0);
    scene_pump(&hostile_scene);
}

void hostile_send_bare(unsigned int slot, uint32_t imm, uint32_t length)
{
    CHECK_EQUAL(raw_write(&data, HOSTILE_PAYLOAD, length,
                          hostile_header_address(slot) +
                              sizeof(struct rdisk_wire_request),
                          le32toh(lease.rkey), imm),
                0);
    scene_pump(&hostile_scene);
}

/* The next answer's immediate; -1 if the connection has ended instead. */
int64_t hostile_answer(void)
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

/* The server has ended the session with a reason. */
void hostile_thrown_out(void)
{
    struct ibv_wc wc;
    bool bye = false;

    scene_pump(&hostile_scene);
    while (raw_poll(&control, &wc)) {
        struct rdisk_wire_message *header = (void *)(control.buffer +
                                                     (uint32_t)wc.wr_id);

        if (wc.status == IBV_WC_SUCCESS && (wc.wr_id & RAW_RECV) &&
            le16toh(header->type) == RDISK_MSG_BYE) {
            bye = true;
            rdisk_wire_text(header, bye_text, sizeof(bye_text));
            CHECK_EQUAL(le16toh(header->status), RDISK_STATUS_BAD_MESSAGE);
        }
    }
    CHECK(bye);
    scene_advance(&hostile_scene, 3000);
    CHECK_EQUAL(rdisk_target_sessions(hostile_scene.target), 1);
}
