/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server that keeps no protocol against the real client, on the fake verbs
 * device: the input is what it answers. Each request ends once, within the
 * client's own time-outs, and nothing is left.
 */
#include "fuzz.h"
#include "tests/unit/support/raw.h"
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

#define SAY   8192u /* where messages go out from */
#define STEPS 40u

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct raw control, data;
static struct scene_io io;
static uint8_t buffer[4096] __attribute__((aligned(4096)));
static bool submitted;

static void listen_to(struct raw *raw, uint32_t size)
{
    struct ibv_wc wc;

    while (raw->cq && raw_poll(raw, &wc)) {
        if (wc.status == IBV_WC_SUCCESS && (wc.wr_id & RAW_RECV)) {
            raw_receive(raw, (uint32_t)wc.wr_id, size);
        }
    }
}

static void send_message(enum rdisk_message_type type, size_t size,
                         uint64_t epoch)
{
    struct rdisk_wire_message *header = (void *)(control.buffer + SAY);

    header->magic = htole32(RDISK_WIRE_MAGIC);
    header->version = htole16(RDISK_WIRE_VERSION);
    header->type = htole16(type);
    header->length = htole32(size);
    header->epoch = htole64(epoch);
    raw_send(&control, SAY, (uint32_t)size);
    scene_pump(&scene);
}

/* What an honest server says, up to the client's queue that wants to join. */
static bool converse(void)
{
    struct rdisk_wire_open_reply *open = (void *)(control.buffer + SAY);
    struct rdma_cm_id *id = control.id;

    memset(open, 0, RDISK_MESSAGE_MAX);
    send_message(RDISK_MSG_HELLO_REPLY, sizeof(struct rdisk_wire_hello), 0);
    memset(open, 0, RDISK_MESSAGE_MAX);
    open->session = htole64(1);
    open->epoch = htole64(1);
    open->size = htole64(1 << 20);
    open->block_size = htole32(512);
    open->queues = htole16(1);
    open->slots = htole16(1);
    open->slot_size = htole32(4096);
    send_message(RDISK_MSG_OPEN_REPLY, sizeof(*open), 0);
    while (raw_event(&control)) {
        if (control.event == RDMA_CM_EVENT_CONNECT_REQUEST) {
            data.id = control.id;
            control.id = id;
            raw_endpoint(&data);
            for (unsigned int i = 0; i < 4; i++) {
                raw_receive(&data, 0, 0);
            }
            return true;
        }
    }
    return false;
}

static void accept_queue(struct fuzz_input *input, bool spoil)
{
    struct rdisk_wire_accept lease = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
        .queue = htole16(1),
        .slots = htole16(1),
        .max_segments = htole16(RDISK_SEGMENTS_MAX),
        .slot_size = htole32(4096),
        .base = htole64((uintptr_t)data.buffer),
        .rkey = htole32(data.mr->rkey),
        .stride = htole32(RDISK_HEADER_AREA + 4096),
    };

    if (spoil) {
        uint8_t at = fuzz_byte(input) % sizeof(lease);

        fuzz_take(input, (uint8_t *)&lease + at,
                  sizeof(lease) - at < 4 ? sizeof(lease) - at : 4);
    }
    raw_accept(&data, &lease, sizeof(lease));
    scene_pump(&scene);
}

static void begin(struct fuzz_input *input)
{
    struct rdisk_wire_accept accept = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
    };
    uint8_t how = fuzz_byte(input);

    scene_prepare(&scene, 1);
    client->options.slots = 1;
    client->options.slot_size = 4096;
    if (how & 1) {
        scene_authenticate(&scene, "alice", "0123456789abcdef0123456789abcdef");
    }
    submitted = false;
    raw_init(&control, scene.fabric, scene.server_host);
    raw_init(&data, scene.fabric, scene.server_host);
    raw_listen(&control, SCENE_PORT);
    scene_start(client);
    scene_pump(&scene);
    REQUIRE(raw_request(&control));
    for (unsigned int i = 0; i < 8; i++) {
        raw_receive(&control, i * 512, 512);
    }
    if (how & 2) {
        fuzz_take(input, (uint8_t *)&accept + how % 16, 4);
    }
    raw_accept(&control, &accept, sizeof(accept));
    scene_pump(&scene);
    if ((how & 4) && converse()) {
        accept_queue(input, how & 8);
    }
}

static void submit(void)
{
    if (!submitted && client->state == RDISK_INITIATOR_READY &&
        scene_submit(&io, client, 0, RDISK_OP_READ, 4096, buffer, 4096) == 0) {
        submitted = true;
        rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    }
}

static void say(struct fuzz_input *input)
{
    uint8_t type = fuzz_byte(input) % 24, epoch = fuzz_byte(input) % 2;
    uint16_t size = (uint16_t)(fuzz_byte(input) * 2);

    size = size < sizeof(struct rdisk_wire_message)
               ? sizeof(struct rdisk_wire_message)
               : size;
    memset(control.buffer + SAY, 0, RDISK_MESSAGE_MAX);
    /* Status and text are the input's, as is the body. */
    fuzz_take(input, control.buffer + SAY + 24, size - 24);
    send_message(type, size, epoch);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fuzz_input input = { bytes, size };

    begin(&input);
    for (unsigned int i = 0; i < STEPS && input.size; i++) {
        submit();
        switch (fuzz_byte(&input) % 4) {
        case 0:
        case 1:
            say(&input);
            break;
        case 2:
            if (data.qp) {
                raw_write(&data, 0, 0, 0, 0, fuzz_word(&input));
            }
            break;
        default:
            scene_advance(&scene, fuzz_byte(&input) * 8u);
            break;
        }
        scene_pump(&scene);
        listen_to(&control, 512);
        listen_to(&data, 0);
    }
    /* Longer than each of its time-outs, one after the other. */
    scene_advance(&scene, 100000);
    CHECK(!submitted || io.completed == 1);
    scene_drop(client);
    raw_destroy(&data);
    raw_destroy(&control);
    scene_end(&scene);
    return 0;
}
