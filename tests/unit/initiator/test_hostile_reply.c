/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server that keeps no protocol, against a client that creates, deletes or
 * lists volumes instead of opening one.
 */
#include <errno.h>
#include <stdio.h>

#include "tests/unit/support/rogue.h"
#include "tests/unit/support/unit.h"
#include "transport/wire/list.h"

static unsigned int listed;

static int creates(struct rdisk_initiator *session)
{
    return rdisk_initiator_make(session, 1 << 20, 0);
}

static int deletes(struct rdisk_initiator *session)
{
    return rdisk_initiator_remove(session);
}

static void each(void *opaque, const struct rdisk_list_entry *entry)
{
    listed++;
}

static int lists(struct rdisk_initiator *session)
{
    listed = 0;
    return rdisk_initiator_list(session, each, NULL);
}

static void begin(int (*instead)(struct rdisk_initiator *session))
{
    rogue_begin_instead(RDISK_FEATURE_CREATE | RDISK_FEATURE_DELETE |
                            RDISK_FEATURE_LIST,
                        instead);
}

static enum rdisk_initiator_state state(void)
{
    return rdisk_initiator_state(victim->session);
}

static void reply(enum rdisk_message_type type)
{
    struct rdisk_wire_message message = { 0 };

    rogue_say(type, &message, sizeof(message));
}

/* What the client has sent makes room for more. */
static void take_lists(void)
{
    struct ibv_wc wc;

    while (raw_poll(&rogue_control, &wc)) {
        if (wc.status == IBV_WC_SUCCESS && (wc.wr_id & RAW_RECV)) {
            CHECK_EQUAL(raw_receive(&rogue_control, (uint32_t)wc.wr_id, 512),
                        0);
        }
    }
}

/* One volume, "v-NUMBER"; @more follow. */
static void page(unsigned int number, bool more)
{
    struct rdisk_wire_list_reply wire = {
        .flags = htole32(more ? RDISK_LIST_MORE : 0),
    };
    struct rdisk_list_place place = { 0 };
    struct rdisk_list_entry entry = { .size = 512 };

    snprintf(entry.name, sizeof(entry.name), "v-%04u", number);
    CHECK(rdisk_list_append(&wire, &place, &entry));
    rogue_say(RDISK_MSG_LIST_REPLY, &wire, sizeof(wire));
    take_lists();
}

/* The session has ended, with these words. */
static void failed(const char *words)
{
    CHECK_EQUAL(state(), RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(victim->session)->text, words);
    CHECK_EQUAL(rdisk_initiator_error(victim->session)->code, -EPROTO);
    rogue_end();
}

static void own_replies(void)
{
    begin(creates);
    reply(RDISK_MSG_CREATE_REPLY);
    CHECK_EQUAL(state(), RDISK_INITIATOR_CLOSED);
    rogue_end();
    begin(deletes);
    reply(RDISK_MSG_DELETE_REPLY);
    CHECK_EQUAL(state(), RDISK_INITIATOR_CLOSED);
    rogue_end();
    begin(lists);
    page(1, false);
    CHECK_EQUAL(state(), RDISK_INITIATOR_CLOSED);
    CHECK_EQUAL(listed, 1);
    rogue_end();
}

static void replies_to_others(void)
{
    begin(creates);
    reply(RDISK_MSG_DELETE_REPLY);
    failed("DELETE_REPLY without DELETE");
    begin(creates);
    page(1, false);
    failed("LIST_REPLY without LIST");
    begin(deletes);
    reply(RDISK_MSG_CREATE_REPLY);
    failed("CREATE_REPLY without CREATE");
    begin(deletes);
    page(1, true);
    failed("LIST_REPLY without LIST");
    CHECK_EQUAL(listed, 1);
    begin(lists);
    reply(RDISK_MSG_CREATE_REPLY);
    failed("CREATE_REPLY without CREATE");
    begin(lists);
    reply(RDISK_MSG_DELETE_REPLY);
    failed("DELETE_REPLY without DELETE");
}

static void an_open_reply(void)
{
    struct rdisk_wire_open_reply open = rogue_open_reply();

    begin(deletes);
    rogue_say(RDISK_MSG_OPEN_REPLY, &open, sizeof(open));
    failed("unexpected OPEN_REPLY in state CREATING");
}

static void the_same_page_again(void)
{
    begin(lists);
    page(3, true);
    CHECK_EQUAL(state(), RDISK_INITIATOR_CREATING);
    page(3, true);
    failed("listed twice");
    CHECK_EQUAL(listed, 1);
    begin(lists);
    page(3, true);
    page(2, false);
    failed("listed twice");
}

/* It answers each LIST with a page, without end. */
static void pages_without_end(void)
{
    unsigned int ms = 0, pages = 0;

    begin(lists);
    while (state() == RDISK_INITIATOR_CREATING && pages < 1000) {
        page(pages++, true);
        scene_advance(&rogue_scene, 100);
        ms += 100;
    }
    CHECK_EQUAL(state(), RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(rdisk_initiator_error(victim->session)->code, -ETIMEDOUT);
    CHECK(ms <= RDISK_DEFAULT_OPEN_TIMEOUT_MS + 1000);
    rogue_end();
}

static const struct unit_test tests[] = {
    { "a client takes the reply to what it has sent", own_replies },
    { "a reply to another message ends the session", replies_to_others },
    { "an OPEN_REPLY to a DELETE ends the session", an_open_reply },
    { "a page that repeats a name ends the session", the_same_page_again },
    { "pages without end end at open-timeout", pages_without_end },
};

UNIT_SUITE("hostile-reply", tests)
