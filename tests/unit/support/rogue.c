/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/rogue.h"

#include "tests/unit/support/message.h"
#include "tests/unit/support/unit.h"

#define SAY 8192u /* where control messages go out from */

struct scene rogue_scene;
struct scene_client *const victim = &rogue_scene.clients[0];
struct raw rogue_control, rogue_data;
struct rdisk_wire_accept rogue_lease;
struct scene_io rogue_io;
enum rdisk_guest_memory rogue_guest_memory;
uint64_t rogue_features;
unsigned int rogue_slots = 1;
uint8_t rogue_buffer[ROGUE_BUFFER] __attribute__((aligned(4096)));

static void fill_accept(struct rdisk_wire_accept *accept)
{
    memset(accept, 0, sizeof(*accept));
    accept->magic = htole32(RDISK_WIRE_MAGIC);
    accept->version = htole16(RDISK_WIRE_VERSION);
}

void rogue_say(enum rdisk_message_type type, void *message, size_t size)
{
    message_fill(message, type, size);
    memcpy(rogue_control.buffer + SAY, message, size);
    CHECK_EQUAL(raw_send(&rogue_control, SAY, (uint32_t)size), 0);
    scene_pump(&rogue_scene);
}

/* Accept the control connection, and answer HELLO. */
static void greet(void)
{
    struct rdisk_wire_hello hello = { .features = htole64(rogue_features) };
    struct rdisk_wire_accept accept;

    REQUIRE(raw_request(&rogue_control));
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(raw_receive(&rogue_control, i * 512, 512), 0);
    }
    fill_accept(&accept);
    raw_accept(&rogue_control, &accept, sizeof(accept));
    scene_pump(&rogue_scene);
    rogue_say(RDISK_MSG_HELLO_REPLY, &hello, sizeof(hello));
}

struct rdisk_wire_open_reply rogue_open_reply(void)
{
    return (struct rdisk_wire_open_reply) {
        .session = htole64(1),
        .epoch = htole64(1),
        .size = htole64(1 << 20),
        .block_size = htole32(512),
        .queues = htole16(1),
        .slots = htole16((uint16_t)rogue_slots),
        .slot_size = htole32(4096),
    };
}

static void converse(void)
{
    struct rdisk_wire_open_reply open = rogue_open_reply();

    greet();
    rogue_say(RDISK_MSG_OPEN_REPLY, &open, sizeof(open));
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_JOINING);
}

static void listen_for_victim(uint64_t seed)
{
    enum rdisk_guest_memory mode = rogue_guest_memory;

    rogue_guest_memory = RDISK_GUEST_MEMORY_DIRECT;
    rogue_lease = (struct rdisk_wire_accept) { 0 };
    scene_prepare(&rogue_scene, seed);
    victim->options.guest_memory = mode;
    raw_init(&rogue_control, rogue_scene.fabric, rogue_scene.server_host);
    raw_init(&rogue_data, rogue_scene.fabric, rogue_scene.server_host);
    raw_listen(&rogue_control, SCENE_PORT);
}

void rogue_begin_instead(uint64_t features,
                         int (*instead)(struct rdisk_initiator *session))
{
    static const struct rdisk_initiator_events none;

    rogue_features = features;
    listen_for_victim(1);
    victim->session = rdisk_initiator_create(&victim->env, &victim->options,
                                             &none, NULL, &victim->error);
    REQUIRE(victim->session != NULL);
    CHECK_EQUAL(instead(victim->session), 0);
    CHECK_EQUAL(rdisk_initiator_start(victim->session, &victim->error), 0);
    scene_pump(&rogue_scene);
    greet();
    CHECK_EQUAL(rdisk_initiator_state(victim->session),
                RDISK_INITIATOR_CREATING);
}

void rogue_begin_joining(uint64_t seed)
{
    struct rdma_cm_id *id;

    listen_for_victim(seed);
    scene_start(victim);
    scene_pump(&rogue_scene);
    converse();
    id = rogue_control.id;
    /* ESTABLISHED of the control connection comes on the way. */
    do {
        REQUIRE(raw_event(&rogue_control));
    } while (rogue_control.event != RDMA_CM_EVENT_CONNECT_REQUEST);
    rogue_data.id = rogue_control.id;
    rogue_control.id = id;
    raw_endpoint(&rogue_data);
    for (unsigned int i = 0; i < 4; i++) {
        CHECK_EQUAL(raw_receive(&rogue_data, 0, 0), 0);
    }
    fill_accept(&rogue_lease);
    rogue_lease.queue = htole16(1);
    rogue_lease.slots = htole16((uint16_t)rogue_slots);
    rogue_lease.max_segments = htole16(RDISK_SEGMENTS_MAX);
    rogue_lease.slot_size = htole32(4096);
    rogue_lease.base = htole64((uintptr_t)rogue_data.buffer);
    rogue_lease.rkey = htole32(rogue_data.mr->rkey);
    rogue_lease.stride = htole32(RDISK_HEADER_AREA + 4096);
}

void rogue_accept_queue(void)
{
    raw_accept(&rogue_data, &rogue_lease, sizeof(rogue_lease));
    scene_pump(&rogue_scene);
}

void rogue_begin(uint64_t seed)
{
    rogue_begin_joining(seed);
    rogue_accept_queue();
    REQUIRE(victim->state == RDISK_INITIATOR_READY);
}

void rogue_end(void)
{
    rogue_features = 0;
    rogue_slots = 1;
    scene_drop(victim);
    raw_destroy(&rogue_data);
    raw_destroy(&rogue_control);
    scene_end(&rogue_scene);
}

struct rdisk_wire_request *rogue_take_read_into(void *memory)
{
    struct ibv_wc wc;

    memset(&rogue_io, 0, sizeof(rogue_io));
    CHECK_EQUAL(scene_submit(&rogue_io, victim, 0, RDISK_OP_READ, 4096, memory,
                             ROGUE_BUFFER),
                0);
    rdisk_queue_kick(rdisk_initiator_queue(victim->session, 0));
    scene_pump(&rogue_scene);
    do {
        REQUIRE(raw_poll(&rogue_data, &wc));
        CHECK_EQUAL(wc.status, IBV_WC_SUCCESS);
    } while (!(wc.wr_id & RAW_RECV));
    CHECK_EQUAL(raw_receive(&rogue_data, 0, 0), 0);
    return (struct rdisk_wire_request *)(rogue_data.buffer +
                                         RDISK_HEADER_AREA) -
           1;
}

struct rdisk_wire_request *rogue_take_read(void)
{
    memset(rogue_buffer, 0x11, sizeof(rogue_buffer));
    return rogue_take_read_into(rogue_buffer);
}

void rogue_answer(uint32_t imm)
{
    CHECK_EQUAL(raw_write(&rogue_data, 0, 0, 0, 0, imm), 0);
    scene_pump(&rogue_scene);
}
