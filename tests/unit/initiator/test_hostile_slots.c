/* SPDX-License-Identifier: BSD-3-Clause */
/* A server whose messages of slots keep no protocol. */
#include "tests/unit/support/rogue.h"
#include "tests/unit/support/unit.h"
#include "transport/initiator/session.h"

/* The queue has a base of 4 slots, and 4 more may be granted. */
static void begin(uint64_t features)
{
    rogue_features = features;
    rogue_slots = 4;
    rogue_begin(1);
}

static void say_slots(enum rdisk_message_type type, unsigned int first,
                      unsigned int count, uint32_t size)
{
    struct rdisk_wire_slots wire = {
        .message.epoch = htole64(1),
        .queue = htole16(1),
        .first = htole16((uint16_t)first),
        .count = htole16((uint16_t)count),
    };

    if (size) {
        wire.slot_size = htole32(size);
        wire.stride = htole32(RDISK_HEADER_AREA + size);
        wire.base = htole64((uintptr_t)rogue_data.buffer);
        wire.rkey = htole32(rogue_data.mr->rkey);
    }
    rogue_say(type, &wire, sizeof(wire));
}

static uint64_t slots(void)
{
    struct rdisk_queue_counters counters = { 0 };

    rdisk_queue_counters(rdisk_initiator_queue(victim->session, 0), &counters);
    return counters.slots;
}

static void failed(const char *words)
{
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(victim->session)->text, words);
    rogue_end();
}

static void good_grant(void)
{
    begin(RDISK_FEATURE_SLOTS);
    say_slots(RDISK_MSG_SLOTS_GRANT, 4, 2, 4096);
    say_slots(RDISK_MSG_SLOTS_GRANT, 6, 2, 4096);
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(slots(), 4);
    say_slots(RDISK_MSG_SLOTS_RECALL, 6, 2, 0);
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(slots(), 2);
    rogue_end();
}

static void unknown_recall(void)
{
    begin(RDISK_FEATURE_SLOTS);
    say_slots(RDISK_MSG_SLOTS_RECALL, 4, 2, 0);
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_READY);
    rogue_end();
}

static void not_agreed(void)
{
    begin(0);
    say_slots(RDISK_MSG_SLOTS_GRANT, 4, 2, 4096);
    failed("SLOTS_GRANT of slots");
}

static void of_the_base(void)
{
    begin(RDISK_FEATURE_SLOTS);
    say_slots(RDISK_MSG_SLOTS_GRANT, 3, 2, 4096);
    failed("SLOTS_GRANT of slots");
}

static void granted_twice(void)
{
    begin(RDISK_FEATURE_SLOTS);
    say_slots(RDISK_MSG_SLOTS_GRANT, 4, 2, 4096);
    say_slots(RDISK_MSG_SLOTS_GRANT, 5, 2, 4096);
    failed("SLOTS_GRANT of slots");
}

static void beyond_the_last(void)
{
    begin(RDISK_FEATURE_SLOTS);
    say_slots(RDISK_MSG_SLOTS_GRANT, 4, 5, 4096);
    failed("SLOTS_GRANT of slots");
}

static void other_size(void)
{
    begin(RDISK_FEATURE_SLOTS);
    say_slots(RDISK_MSG_SLOTS_GRANT, 4, 2, 8192);
    failed("SLOTS_GRANT of slots");
}

static void malformed(void)
{
    begin(RDISK_FEATURE_SLOTS);
    say_slots(RDISK_MSG_SLOTS_RECALL, 4, 2, 4096);
    failed("not zero");
}

static void ack_of_nothing(void)
{
    struct rdisk_wire_message ack = { .epoch = htole64(1) };

    begin(RDISK_FEATURE_SLOTS);
    rogue_say(RDISK_MSG_SLOTS_ACK, &ack, sizeof(ack));
    failed("SLOTS_ACK without");
}

static void large_base(void)
{
    rogue_features = RDISK_FEATURE_SLOTS;
    rogue_slots = RDISK_BASE_SLOTS_MAX + 1;
    rogue_begin_joining(1);
    rogue_accept_queue();
    failed("does not match OPEN_REPLY");
}

static const struct unit_test tests[] = {
    { "slots that are granted are used, and returned when recalled",
      good_grant },
    { "a recall of slots that it does not have is ignored", unknown_recall },
    { "a grant without the feature ends the session", not_agreed },
    { "a grant of the base ends the session", of_the_base },
    { "a grant of what is granted ends the session", granted_twice },
    { "a grant of too many ends the session", beyond_the_last },
    { "a grant of another size ends the session", other_size },
    { "a recall with fields that are not zero ends the session", malformed },
    { "an acknowledgement of nothing ends the session", ack_of_nothing },
    { "a base of too many slots ends the session", large_base },
};

UNIT_SUITE("hostile-server-slots", tests)
