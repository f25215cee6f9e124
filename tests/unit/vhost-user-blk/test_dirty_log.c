/* SPDX-License-Identifier: BSD-3-Clause */
/* The log of pages that a device has written while its guest migrates. */
#include <string.h>

#include "tests/unit/support/unit.h"
#include "vhost-user-blk/dirty_log.h"

#define PAGE DIRTY_LOG_PAGE

static uint8_t table[4]; /* 32 pages */

static void begin(void)
{
    memset(table, 0, sizeof(table));
}

static bool mark(uint64_t address, uint64_t length)
{
    return dirty_log_mark(table, sizeof(table), address, length);
}

static bool all_clean(void)
{
    static const uint8_t clean[sizeof(table)];

    return memcmp(table, clean, sizeof(table)) == 0;
}

static void a_byte_marks_its_page(void)
{
    begin();
    CHECK(mark(9 * PAGE + 17, 1));
    CHECK(table[0] == 0 && table[1] == 0x02 && table[2] == 0 && table[3] == 0);
}

static void a_range_marks_each_page_that_it_touches(void)
{
    begin();
    /* The last byte of page 6 to the first of page 9. */
    CHECK(mark(7 * PAGE - 1, 2 * PAGE + 2));
    CHECK(table[0] == 0xc0 && table[1] == 0x03);
}

static void pages_that_are_marked_stay_so(void)
{
    begin();
    CHECK(mark(0, 1) && mark(2 * PAGE, 1));
    CHECK(table[0] == 0x05);
}

static void nothing_marks_nothing(void)
{
    begin();
    CHECK(mark(5 * PAGE, 0));
    CHECK(all_clean());
}

static void the_last_page_is_in_the_table_and_the_next_is_not(void)
{
    begin();
    CHECK(!mark(31 * PAGE, PAGE + 1));
    CHECK(!mark(32 * PAGE, 1));
    CHECK(all_clean());
    CHECK(mark(31 * PAGE, PAGE));
    CHECK(table[3] == 0x80);
}

static void an_end_beyond_all_addresses_is_not_in_the_table(void)
{
    begin();
    CHECK(!mark(UINT64_MAX - 1, 3));
    CHECK(!mark(1, UINT64_MAX));
    CHECK(all_clean());
}

static const struct unit_test tests[] = {
    { "a byte marks its page", a_byte_marks_its_page },
    { "a range marks each page that it touches",
      a_range_marks_each_page_that_it_touches },
    { "pages that are marked stay so", pages_that_are_marked_stay_so },
    { "nothing marks nothing", nothing_marks_nothing },
    { "the last page is in the table and the next is not",
      the_last_page_is_in_the_table_and_the_next_is_not },
    { "an end beyond all addresses is not in the table",
      an_end_beyond_all_addresses_is_not_in_the_table },
};

UNIT_SUITE("vhost-dirty-log", tests)
