/* SPDX-License-Identifier: BSD-3-Clause */
/* Names are resolved in another thread, by the system's resolver. */
#include <errno.h>
#include <poll.h>

#include "tests/unit/support/unit.h"
#include "transport/verbs/name.h"

#define WAIT_MS 60000

static int answer(const char *host, struct rdisk_addresses *addresses,
                  const char **why)
{
    struct rdisk_name_query *query = rdisk_name_query(host, 7471);
    struct pollfd pfd = { .events = POLLIN };
    int ret;

    REQUIRE(query != NULL);
    pfd.fd = query->fd;
    CHECK_EQUAL(poll(&pfd, 1, WAIT_MS), 1);
    ret = rdisk_name_answer(query, addresses, why);
    rdisk_name_end(query);
    return ret;
}

static void localhost(void)
{
    struct rdisk_addresses addresses;
    const char *why = "";
    char text[RDISK_ADDRESS_TEXT];

    CHECK_EQUAL(answer("localhost", &addresses, &why), 0);
    REQUIRE(addresses.count > 0);
    rdisk_address_text((const struct sockaddr *)&addresses.list[0], text,
                       sizeof(text));
    CHECK_SAYS(text, ":7471");
}

static void no_name(void)
{
    struct rdisk_addresses addresses;
    const char *why = "";

    CHECK_EQUAL(answer("no such host", &addresses, &why), -ENOENT);
    CHECK(why[0] != '\0');
}

static void abandoned(void)
{
    /* One after the other, so that there are never too many. */
    for (unsigned int i = 0; i < 2 * RDISK_NAME_QUERIES_MAX; i++) {
        struct rdisk_name_query *query = rdisk_name_query("localhost", 1);

        if (!query) {
            CHECK_EQUAL(errno, EAGAIN);
            poll(NULL, 0, 10);
            continue;
        }
        rdisk_name_end(query);
    }
}

static void too_many(void)
{
    struct rdisk_name_query *queries[RDISK_NAME_QUERIES_MAX];
    unsigned int count = 0;

    /* Some of an earlier test may not be over. */
    while (count < RDISK_NAME_QUERIES_MAX &&
           (queries[count] = rdisk_name_query("localhost", 1))) {
        count++;
    }
    errno = 0;
    CHECK(!rdisk_name_query("localhost", 1));
    CHECK_EQUAL(errno, EAGAIN);
    while (count) {
        rdisk_name_end(queries[--count]);
    }
}

static const struct unit_test tests[] = {
    { "the system's resolver answers, and its descriptor is readable",
      localhost },
    { "a name that does not exist has a reason", no_name },
    { "a caller need not wait for the answer", abandoned },
    { "there are at most 64 queries", too_many },
};

UNIT_SUITE("name", tests)
