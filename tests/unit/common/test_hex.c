/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes as hex digits. */
#include "common/hex.h"
#include "tests/unit/support/unit.h"

static void what_is_printed_is_parsed(void)
{
    uint8_t bytes[256], parsed[256];
    char text[HEX_SIZE(sizeof(bytes))];

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    hex_print(bytes, sizeof(bytes), text);
    CHECK_EQUAL(strlen(text), sizeof(text) - 1);
    CHECK(memcmp(text, "000102", 6) == 0);
    CHECK(strcmp(text + 2 * 254, "feff") == 0);
    CHECK(hex_parse(text, parsed, sizeof(parsed)));
    CHECK(memcmp(bytes, parsed, sizeof(bytes)) == 0);
}

static void only_lower_case_digits_are_parsed(void)
{
    static const char *const cases[] = { "",     "1",    "12",   "123",
                                         "12g4", "12 4", "0x12", "12A4",
                                         "-123", "+123", " 123" };
    uint8_t bytes[2];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK(!hex_parse(cases[i], bytes, sizeof(bytes)));
    }
    CHECK(hex_parse("12ffrest", bytes, sizeof(bytes)));
    CHECK_EQUAL(bytes[1], 0xff);
}

static const struct unit_test tests[] = {
    { "bytes are parsed as they were printed", what_is_printed_is_parsed },
    { "only lower-case hex digits are parsed",
      only_lower_case_digits_are_parsed },
};

UNIT_SUITE("hex", tests)
