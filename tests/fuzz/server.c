/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that keeps no protocol against the real target, on the fake verbs
 * device: the input is what it does. An honest client beside it must notice
 * nothing, and of the hostile one nothing may be left.
 */
#include "fuzz.h"
#include "tests/unit/support/hostile.h"
#include "tests/unit/support/unit.h"

#define STEPS 40u /* at most; each pumps the fabric */

/* Take what came, so that the next message finds a receive. */
static void listen_to(struct raw *raw, uint32_t size)
{
    struct ibv_wc wc;

    while (raw->cq && raw_poll(raw, &wc)) {
        if (wc.status == IBV_WC_SUCCESS && (wc.wr_id & RAW_RECV)) {
            raw_receive(raw, (uint32_t)wc.wr_id, size);
        }
    }
}

/* A message with a header that is right but for what the input changes. */
static void say(struct fuzz_input *input)
{
    uint8_t *at = control.buffer + HOSTILE_SAY;
    struct rdisk_wire_message *header = (void *)at;
    uint8_t type = fuzz_byte(input) % 24, spoil = fuzz_byte(input);
    uint16_t size = (uint16_t)(fuzz_byte(input) * 2);

    size = size < sizeof(*header) ? sizeof(*header) : size;
    memset(at, 0, RDISK_MESSAGE_MAX);
    fuzz_take(input, at + sizeof(*header), size - sizeof(*header));
    header->magic = htole32(RDISK_WIRE_MAGIC);
    header->version = htole16(RDISK_WIRE_VERSION);
    header->type = htole16(type);
    header->length = htole32(size);
    if (spoil & 1) {
        header->epoch = htole64(5);
    }
    if (spoil & 2) {
        fuzz_take(input, at + spoil % sizeof(*header), 1);
    }
    raw_send(&control, HOSTILE_SAY, size);
}

/* A write without a header, with any slot, distance and length. */
static void bare_write(struct fuzz_input *input, bool joined)
{
    uint8_t how = fuzz_byte(input), slot = fuzz_byte(input) % 4;
    uint32_t imm = fuzz_word(input), length = (how % 4 + 1) * 4096;
    unsigned int bits = rdisk_bare_bits(4);

    if (!joined) {
        return;
    }
    if (how & 4) {
        length -= fuzz_byte(input) * 16;
    }
    if (how & 8) {
        imm = rdisk_imm_bare(bits, slot, 0, imm % 1024 * 4096);
    }
    raw_write(&data, HOSTILE_PAYLOAD, length,
              hostile_header_address(slot) + sizeof(struct rdisk_wire_request),
              le32toh(lease.rkey), imm | RDISK_BARE_FLAG);
}

/* Several requests in one message, right but for what the input changes. */
static void several(struct fuzz_input *input, bool joined)
{
    const uint32_t entry = sizeof(struct rdisk_wire_entry);
    uint8_t how = fuzz_byte(input), first = fuzz_byte(input);
    uint32_t count = how % 8, length = count * entry;

    if (!joined) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = data.buffer + HOSTILE_PAYLOAD + i * entry;
        struct rdisk_wire_entry *each = (void *)at;

        *each = (struct rdisk_wire_entry) {
            .request.opcode = RDISK_OP_FLUSH,
            .request.slot = htole16((uint16_t)((first + i) % 4)),
            .request.epoch = htole64(5),
            .request.sequence = htole32(first / 4 + i),
        };
        if (first < 4 && i == 0) {
            each->request.areas = htole64((uintptr_t)data.buffer);
            each->request.areas_key = htole32(data.mr->rkey);
        }
        if (how & 8) {
            each->request.opcode = fuzz_byte(input) % 10;
        }
        if (how & 16) {
            fuzz_take(input, at + fuzz_byte(input) % (entry - 4), 4);
        }
    }
    if (how & 32) {
        length += fuzz_byte(input);
    }
    raw_write(&data, HOSTILE_PAYLOAD, length,
              hostile_header_address(first % 4) +
                  sizeof(struct rdisk_wire_request) - length,
              le32toh(lease.rkey), rdisk_imm_vector(first % 4, first / 4));
}

/* A request whose header is right but for what the input changes. */
static void request(struct fuzz_input *input, bool joined)
{
    uint8_t spoil = fuzz_byte(input), slot = fuzz_byte(input) % 8;
    struct rdisk_wire_request *wire;
    uint16_t sequence;

    if (!joined) {
        return;
    }
    wire = hostile_request();
    wire->opcode = fuzz_byte(input) % 10;
    sequence = fuzz_byte(input) % 4;
    wire->slot = htole16(slot);
    wire->sequence = htole32(sequence);
    if (spoil & 1) {
        wire->offset = htole64((uint64_t)fuzz_word(input) % 8192 * 512);
        wire->length = htole32(fuzz_byte(input) * 512);
        wire->segments = htole16(fuzz_byte(input));
    }
    if (spoil & 2) {
        fuzz_take(input, (uint8_t *)wire + spoil % sizeof(*wire), 4);
    }
    raw_write(&data, 8192, sizeof(*wire), hostile_header_address(slot % 4),
              le32toh(lease.rkey), (uint32_t)slot << 16 | sequence);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fuzz_input input = { bytes, size };
    uint8_t how = fuzz_byte(&input);
    bool joined = false;

    if (how & 1) {
        hostile_begin_stranger(1, "alice", "0123456789abcdef0123456789abcdef");
    } else {
        hostile_begin(1);
        hostile_features = (how & 16 ? RDISK_FEATURE_BARE : 0) |
                           (how & 32 ? RDISK_FEATURE_VECTOR : 0);
        if (how & 2) {
            hostile_join();
            joined = true;
        } else if (how & 4) {
            hostile_open_volume();
        }
    }
    hostile_scene.ranges = how & 8;
    for (unsigned int i = 0; i < STEPS && input.size; i++) {
        uint8_t what = fuzz_byte(&input);

        switch (what >= 0xf8 ? 7 : what >= 0xf0 ? 6 : what % 6) {
        case 0:
        case 1:
            say(&input);
            break;
        case 2:
        case 3:
            request(&input, joined);
            break;
        case 6:
            bare_write(&input, joined);
            break;
        case 7:
            several(&input, joined);
            break;
        case 4: {
            uint32_t length = fuzz_byte(&input) * 2u;

            fuzz_take(&input, control.buffer + HOSTILE_SAY, length);
            raw_send(&control, HOSTILE_SAY, length);
            break;
        }
        default:
            scene_advance(&hostile_scene, fuzz_byte(&input) * 8u);
            break;
        }
        scene_pump(&hostile_scene);
        listen_to(&control, 512);
        if (joined) {
            listen_to(&data, 0);
        }
    }
    hostile_end();
    return 0;
}
