/* SPDX-License-Identifier: BSD-3-Clause */
/* Attacks by what a session sends: requests, and control messages. */
#include <string.h>
#include <unistd.h>

#include "attack.h"

/* A request that is spoilt by @spoil ends the session. */
static void spoilt(void (*spoil)(struct rdisk_wire_request *wire))
{
    begin();
    spoil(session_make(&own, RDISK_OP_WRITE, 0, 0));
    EXPECT(session_send(&own, 0, 4096) == IBV_WC_SUCCESS);
    EXPECT(session_ended(&own));
    session_drop(&own);
}

static void all_ones(struct rdisk_wire_request *wire)
{
    memset(wire, 0xff, sizeof(*wire));
}

static void noise(struct rdisk_wire_request *wire)
{
    if (getentropy(wire, sizeof(*wire)) < 0) {
        die("no random bytes");
    }
    wire->reserved[0] |= 1;
}

static void too_long(struct rdisk_wire_request *wire)
{
    wire->length = htole32(SESSION_SLOT + 512);
}

static void longest(struct rdisk_wire_request *wire)
{
    wire->length = htole32(0xfffffe00);
}

static void other_slot(struct rdisk_wire_request *wire)
{
    wire->slot = htole16(1);
}

static void other_epoch(struct rdisk_wire_request *wire)
{
    wire->epoch = htole64(2);
}

static void segments_of_a_write(struct rdisk_wire_request *wire)
{
    wire->segments = htole16(500);
}

void garbage_headers(void)
{
    spoilt(all_ones);
    for (unsigned int i = 0; i < 8; i++) {
        spoilt(noise);
    }
    spoilt(other_slot);
    spoilt(other_epoch);
    spoilt(segments_of_a_write);
}

void bad_lengths(void)
{
    spoilt(too_long);
    spoilt(longest);
    /* What is only misaligned, or beyond the end, gets an answer. */
    begin();
    session_make(&own, RDISK_OP_WRITE, 0, 0)->length = htole32(100);
    session_send(&own, 0, 4096);
    EXPECT(session_answer(&own) == RDISK_STATUS_MISALIGNED);
    session_make(&own, RDISK_OP_WRITE, 0, 1ull << 62);
    session_send(&own, 0, 4096);
    EXPECT(session_answer(&own) == RDISK_STATUS_OUT_OF_RANGE);
    session_close(&own);
}

static void bad_bare_write_ends_it(uint64_t offset, uint32_t length)
{
    begin();
    session_send_bare(&own, 0, offset, length);
    EXPECT(session_ended(&own) && !session_answered(&own));
    session_drop(&own);
}

void bare_writes(void)
{
    /* Of no slot's length; but the last one of the immediate alone. */
    bad_bare_write_ends_it(0, 512);
    bad_bare_write_ends_it(0, 4096 + 512);
    bad_bare_write_ends_it(0, SESSION_SLOT + 4096);
    bad_bare_write_ends_it(0, 0);
    session_features = 0;
    bad_bare_write_ends_it(0, 4096);
    session_features = SESSION_FEATURES;
    /* Beyond the end, on either side, gets an answer. */
    begin();
    EXPECT(session_send_bare(&own, 0, 0, 4096) == IBV_WC_SUCCESS);
    EXPECT(session_answer(&own) == RDISK_STATUS_OK);
    session_send_bare(&own, 0, 1ull << 40, 4096);
    EXPECT(session_answer(&own) == RDISK_STATUS_OUT_OF_RANGE);
    session_send_bare(&own, 0, 0ull - 4096, 4096);
    EXPECT(session_answer(&own) == RDISK_STATUS_OUT_OF_RANGE);
    session_close(&own);
    /* A header that counts otherwise. */
    begin();
    session_make(&own, RDISK_OP_WRITE, 0, 0)->sequence = htole32(1u << 16);
    session_send(&own, 0, 4096);
    EXPECT(session_ended(&own) && !session_answered(&own));
    session_drop(&own);
}

/* Flushes, of which the one at @bad is spoilt; all of them if none is. */
static void several(unsigned int count, unsigned int bad,
                    void (*spoil)(struct rdisk_wire_request *))
{
    begin();
    for (unsigned int i = 0; i < count; i++) {
        struct rdisk_wire_request *wire = session_make_several(&own, i);

        if (i == bad) {
            spoil(wire);
        }
    }
    session_send_several(&own,
                         count * (uint32_t)sizeof(struct rdisk_wire_entry));
}

static void several_end_it(unsigned int count, unsigned int bad,
                           void (*spoil)(struct rdisk_wire_request *))
{
    several(count, bad, spoil);
    EXPECT(session_ended(&own));
    session_drop(&own);
}

static void into_slot_0(struct rdisk_wire_request *wire)
{
    wire->slot = 0;
}

static void count_otherwise(struct rdisk_wire_request *wire)
{
    wire->sequence = htole32(9);
}

static void make_a_write(struct rdisk_wire_request *wire)
{
    wire->opcode = RDISK_OP_WRITE;
    wire->length = htole32(4096);
}

static void name_segments(struct rdisk_wire_request *wire)
{
    wire->opcode = RDISK_OP_READ;
    wire->length = htole32(4096);
    wire->segments = htole16(200);
}

static void name_foreign_areas(struct rdisk_wire_request *wire)
{
    wire->areas = htole64(1ull << 40);
    wire->areas_key = htole32(0x123456);
}

static void make_unknown(struct rdisk_wire_request *wire)
{
    wire->opcode = 99;
}

void several_requests(void)
{
    several_end_it(2, 1, into_slot_0);
    several_end_it(2, 1, count_otherwise);
    several_end_it(3, 2, make_a_write);
    several_end_it(3, 1, name_segments);
    several_end_it(2, 0, name_foreign_areas);
    /* More than slots, more than a message may have, fewer, and parts. */
    several_end_it(SESSION_SLOTS + 1, 99, NULL);
    several_end_it(33, 99, NULL);
    several_end_it(1, 99, NULL);
    begin();
    session_make_several(&own, 0);
    session_make_several(&own, 1);
    session_send_several(&own, 100);
    EXPECT(session_ended(&own));
    session_drop(&own);
    session_features = 0;
    several_end_it(2, 99, NULL);
    session_features = SESSION_FEATURES;
    /* What is only unknown gets an answer, with the others. */
    several(3, 1, make_unknown);
    EXPECT(session_immediate(&own) == rdisk_imm_vector(0, 3));
    session_close(&own);
}

void replays(void)
{
    /* An immediate alone: the header in the slot has been answered. */
    begin();
    session_make(&own, RDISK_OP_WRITE, 0, 0);
    session_send(&own, 0, 4096);
    EXPECT(session_answer(&own) == RDISK_STATUS_OK);
    end_write(&own.data, 0, 0, 0, 0, rdisk_imm_request(0, own.sequence));
    EXPECT(session_ended(&own) && !session_answered(&own));
    session_drop(&own);
    begin();
    end_write(&own.data, 0, 0, 0, 0, rdisk_imm_request(1000, 0));
    EXPECT(session_ended(&own) && !session_answered(&own));
    session_drop(&own);
}

void garbage_messages(void)
{
    for (unsigned int i = 0; i < 4; i++) {
        open_own();
        memset(own.control.buffer + END_SAY, 0xff, RDISK_MESSAGE_MAX);
        end_say(&own.control, i * 77, i ? RDISK_MESSAGE_MAX : 64, 1);
        EXPECT(session_ended(&own));
        session_drop(&own);
    }
}
