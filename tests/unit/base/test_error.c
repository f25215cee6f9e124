/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors and statuses: never cut off, never silent. */
#include <errno.h>
#include <stdlib.h>

#include "transport/wire/request.h"
#include "tests/unit/support/unit.h"

static struct rdisk_error err;

static void code_and_sentence(void)
{
    CHECK_EQUAL(rdisk_error_set(&err, -EIO, "disk %d is %s", 3, "tired"), -EIO);
    CHECK_EQUAL(err.code, -EIO);
    CHECK(!strcmp(err.text, "disk 3 is tired"));
    CHECK_EQUAL(rdisk_error_prefix(&err, "host %s", "a"), -EIO);
    CHECK(!strcmp(err.text, "host a: disk 3 is tired"));
}

static void no_listener(void)
{
    CHECK_EQUAL(rdisk_error_set(NULL, -ENOMEM, "x"), -ENOMEM);
    CHECK_EQUAL(rdisk_error_prefix(NULL, "y"), 0);
}

static void overlong_is_cut(void)
{
    char text[1000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    rdisk_error_set(&err, -EIO, "%s", text);
    CHECK_EQUAL(strlen(err.text), sizeof(err.text) - 1);
    rdisk_error_prefix(&err, "%s", "why");
    CHECK_EQUAL(strlen(err.text), sizeof(err.text) - 1);
    CHECK(!strncmp(err.text, "why: xxx", 8));
}

static void every_status_has_words(void)
{
    for (unsigned int i = 0; i < 300; i++) {
        CHECK(rdisk_status_text(i) != NULL);
        CHECK(strlen(rdisk_status_text(i)) > 3);
        if (i) {
            CHECK(rdisk_status_to_errno(i) < 0);
        }
    }
    CHECK_EQUAL(rdisk_status_to_errno(RDISK_STATUS_OK), 0);
}

static void errno_becomes_status(void)
{
    CHECK_EQUAL(rdisk_status_from_errno(0), RDISK_STATUS_OK);
    for (int code = 1; code < 200; code++) {
        unsigned int status = rdisk_status_from_errno(-code);

        CHECK(status != RDISK_STATUS_OK && status < RDISK_STATUS_COUNT);
        /* Never one that would end a correct client's connection. */
        CHECK(status != RDISK_STATUS_BAD_MESSAGE);
    }
    CHECK_EQUAL(rdisk_status_from_errno(-ENOSPC), RDISK_STATUS_NO_SPACE);
    CHECK_EQUAL(rdisk_status_from_errno(-EIO), RDISK_STATUS_IO_ERROR);
    CHECK_EQUAL(rdisk_status_from_errno(-EROFS), RDISK_STATUS_READ_ONLY);
}

static void immediates(void)
{
    CHECK_EQUAL(rdisk_imm_request(0x1234, 0xabcd5678), 0x12345678);
    CHECK_EQUAL(rdisk_imm_answer(0x1234, 0xabcd5678, 9), 0x12347809);
}

static const struct unit_test tests[] = {
    { "an error has a code and a sentence", code_and_sentence },
    { "the sentence may be left out", no_listener },
    { "an overlong sentence is cut, not overrun", overlong_is_cut },
    { "every status has words and an errno", every_status_has_words },
    { "every errno becomes a status that is no success", errno_becomes_status },
    { "immediates are laid out as documented", immediates },
};

UNIT_SUITE("error", tests)
