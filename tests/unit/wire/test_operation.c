/* SPDX-License-Identifier: BSD-3-Clause */
/* The names and the counters of operations. */
#include "tests/unit/support/unit.h"
#include "transport/wire/op_counters.h"

static void each_has_its_name(void)
{
    for (unsigned int op = 1; op < RDISK_OPS; op++) {
        CHECK(strcmp(rdisk_op_name(op), rdisk_op_name(RDISK_OPS)) != 0);
        for (unsigned int other = 1; other < op; other++) {
            CHECK(strcmp(rdisk_op_name(op), rdisk_op_name(other)) != 0);
            CHECK(strcmp(rdisk_op_plural(op), rdisk_op_plural(other)) != 0);
        }
    }
    CHECK_SAYS(rdisk_op_name(RDISK_OP_COPY), "copy");
    CHECK_SAYS(rdisk_op_plural(RDISK_OP_COPY), "copies");
}

static void others_are_called_unknown(void)
{
    CHECK_SAYS(rdisk_op_name(0), "unknown");
    CHECK_SAYS(rdisk_op_name(RDISK_OPS), "unknown");
    CHECK_SAYS(rdisk_op_plural(255), "unknown");
}

static void counted_by_operation(void)
{
    struct rdisk_op_counters counters = { 0 };
    struct rdisk_op_totals totals = { 0 };

    rdisk_op_count(&counters, RDISK_OP_READ, 4096, false);
    rdisk_op_count(&counters, RDISK_OP_READ, 512, true);
    rdisk_op_count(&counters, RDISK_OP_COPY, 1024, false);
    rdisk_op_counters_read(&counters, &totals);
    rdisk_op_counters_read(&counters, &totals);
    CHECK_EQUAL(totals.count[RDISK_OP_READ], 4);
    CHECK_EQUAL(totals.bytes[RDISK_OP_READ], 2 * 4608);
    CHECK_EQUAL(totals.count[RDISK_OP_COPY], 2);
    CHECK_EQUAL(totals.count[RDISK_OP_WRITE], 0);
    CHECK_EQUAL(totals.failed, 2);
}

static void unknown_ones_stay_in_the_table(void)
{
    struct rdisk_op_counters counters = { 0 };
    struct rdisk_op_totals totals = { 0 };

    rdisk_op_count(&counters, (enum rdisk_op)255, 512, true);
    rdisk_op_counters_read(&counters, &totals);
    CHECK_EQUAL(totals.count[0], 1);
    CHECK_EQUAL(totals.failed, 1);
}

static const struct unit_test tests[] = {
    { "each operation has a name and a plural of its own", each_has_its_name },
    { "what is no operation is called unknown", others_are_called_unknown },
    { "requests are counted by operation", counted_by_operation },
    { "unknown operations are counted, too", unknown_ones_stay_in_the_table },
};

UNIT_SUITE("wire-operation", tests)
