/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers as people write them. */
#include <errno.h>

#include "common/number.h"
#include "tests/unit/support/unit.h"

static void only_digits_are_a_number(void)
{
    static const struct {
        const char *text;
        unsigned int base;
        int result;
        uint64_t number;
    } cases[] = {
        { "0", 10, 0, 0 },
        { "007", 10, 0, 7 },
        { "660", 8, 0, 0660 },
        { "18446744073709551615", 10, 0, UINT64_MAX },
        { "18446744073709551616", 10, -ERANGE, 1 },
        { "", 10, -EINVAL, 1 },
        { "-1", 10, -EINVAL, 1 },
        { "+1", 10, -EINVAL, 1 },
        { " 1", 10, -EINVAL, 1 },
        { "1 ", 10, -EINVAL, 1 },
        { "0x10", 10, -EINVAL, 1 },
        { "8", 8, -EINVAL, 1 },
        { "99999999999999999999x", 10, -EINVAL, 1 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t number = 1;

        CHECK_EQUAL(number_parse(cases[i].text, cases[i].base, &number),
                    cases[i].result);
        CHECK_EQUAL(number, cases[i].number);
    }
}

static void times_have_decimals(void)
{
    uint64_t ms = 7;

    CHECK_EQUAL(number_parse_time("2.5", &ms), 0);
    CHECK_EQUAL(ms, 2500);
    CHECK_EQUAL(number_parse_time("0", &ms), 0);
    CHECK_EQUAL(ms, 0);
    CHECK_EQUAL(number_parse_time("1e3", &ms), -EINVAL);
    CHECK_EQUAL(number_parse_time("0x1", &ms), -EINVAL);
    CHECK_EQUAL(number_parse_time("-1", &ms), -EINVAL);
    CHECK_EQUAL(number_parse_time("1s", &ms), -EINVAL);
    CHECK_EQUAL(number_parse_time("1000000001", &ms), -ERANGE);
    CHECK_EQUAL(ms, 0);
}

static void a_range_is_named(void)
{
    struct rdisk_error err = { 0 };
    uint64_t number = 5;

    CHECK_EQUAL(number_set("n", "3", 10, 3, 9, &number, &err), 0);
    CHECK_EQUAL(number, 3);
    CHECK_EQUAL(number_set("n", "2", 10, 3, 9, &number, &err), -EINVAL);
    CHECK_SAYS(err.text, "n = 2 is not a whole number from 3 to 9");
    CHECK_EQUAL(number_set("n", "10", 10, 3, 9, &number, &err), -EINVAL);
    CHECK_EQUAL(number_set("mode", "999", 8, 0, 0777, &number, &err), -EINVAL);
    CHECK_SAYS(err.text, "mode = 999 is not an octal number from 0 to 777");
    CHECK_EQUAL(number, 3);
}

static const struct unit_test tests[] = {
    { "a number has digits and nothing else", only_digits_are_a_number },
    { "a time is in seconds with decimals", times_have_decimals },
    { "a number out of range is refused with the range", a_range_is_named },
};

UNIT_SUITE("number", tests)
