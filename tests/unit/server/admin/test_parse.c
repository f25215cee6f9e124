/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests at the control socket: their form. */
#include "server/admin/parse.h"
#include "tests/unit/support/unit.h"

static void check_refused(const char *line, const char *words)
{
    struct rdisk_error err = { 0 };
    struct request request;

    CHECK_EQUAL(request_parse(line, &request, &err), -EINVAL);
    CHECK_SAYS(err.text, words);
}

static void test_requests(void)
{
    struct rdisk_error err = { 0 };
    struct request request;

    CHECK_EQUAL(request_parse("{\"op\":\"create\",\"name\":\"v\",\"size\":"
                              "1099511627776}",
                              &request, &err),
                0);
    CHECK_EQUAL(request.op, REQUEST_CREATE);
    CHECK_SAYS(request.name, "v");
    CHECK_EQUAL(request.size, 1ll << 40);
    CHECK_EQUAL(request_parse(" { \"name\" : \"v\", \"op\":\"delete\" } ",
                              &request, &err),
                0);
    CHECK_EQUAL(request.op, REQUEST_DELETE);
    CHECK_EQUAL(request_parse("{\"op\":\"list\"}", &request, &err), 0);
    CHECK_EQUAL(request.op, REQUEST_LIST);
    CHECK_EQUAL(request_parse("{\"op\":\"stat\"}", &request, &err), 0);
    CHECK_EQUAL(request.op, REQUEST_STAT);
    CHECK_EQUAL(request_parse("{\"op\":\"resize\",\"name\":\"v\",\"size\":0}",
                              &request, &err),
                0);
    CHECK_EQUAL(request.op, REQUEST_RESIZE);
    CHECK(!request.agreed);
    CHECK_EQUAL(request_parse("{\"op\":\"resize\",\"name\":\"v\",\"size\":0,"
                              "\"shrink\":true}",
                              &request, &err),
                0);
    CHECK(request.agreed);
    CHECK_EQUAL(request_parse("{\"op\":\"create\",\"name\":\"v\",\"size\":0,"
                              "\"replace\":false}",
                              &request, &err),
                0);
    CHECK(!request.agreed && !request.chosen);
    CHECK_EQUAL(request_parse("{\"op\":\"create\",\"name\":\"v\",\"size\":0,"
                              "\"preallocate\":true}",
                              &request, &err),
                0);
    CHECK(!request.agreed && request.chosen);
    CHECK_EQUAL(request_parse("{\"op\":\"drain\",\"name\":\"v\"}", &request,
                              &err),
                0);
    CHECK_EQUAL(request.op, REQUEST_DRAIN);
    CHECK_SAYS(request.name, "v");
    CHECK_EQUAL(request_parse("{\"op\":\"drain\"}", &request, &err), 0);
    CHECK_EQUAL(request.name[0], 0);
    CHECK_EQUAL(request.host[0], 0);
    CHECK_EQUAL(request_parse("{\"op\":\"drain\",\"host\":\"gw-2\","
                              "\"port\":7472}",
                              &request, &err),
                0);
    CHECK_SAYS(request.host, "gw-2");
    CHECK_EQUAL(request.port, 7472);
    CHECK_EQUAL(request_parse("{\"op\":\"flatten\",\"name\":\"v\"}", &request,
                              &err),
                0);
    CHECK_EQUAL(request.op, REQUEST_FLATTEN);
    CHECK_EQUAL(request_parse("{\"op\":\"usage\",\"name\":\"v\"}", &request,
                              &err),
                0);
    CHECK_EQUAL(request.op, REQUEST_USAGE);
    CHECK_EQUAL(request_parse("{\"op\":\"resume\"}", &request, &err), 0);
    CHECK_EQUAL(request.op, REQUEST_RESUME);
}

static void test_malformed(void)
{
    check_refused("", "not a JSON");
    check_refused("hello", "not a JSON");
    check_refused("{\"op\":\"list\"", "not a JSON");
    check_refused("{\"op\":\"list\"} x", "not a JSON");
    check_refused("{'op':'list'}", "not a JSON");
    check_refused("[]", "not an object");
    check_refused("null", "not an object");
    check_refused("7", "not an object");
    check_refused("{}", "needs \"op\", a string");
    check_refused("{\"op\":7}", "needs \"op\", a string");
    check_refused("{\"op\":\"format\"}", "unknown op \"format\"");
    check_refused("{\"op\":\"list\",\"name\":\"v\"}", "does not take \"name\"");
    check_refused("{\"op\":\"delete\"}", "needs \"name\"");
    check_refused("{\"op\":\"delete\",\"name\":7}", "needs \"name\"");
    check_refused("{\"op\":\"delete\",\"name\":\"../x\"}",
                  "invalid volume name");
    check_refused("{\"op\":\"delete\",\"name\":\"a\\u0000b\"}",
                  "invalid volume name");
    check_refused("{\"op\":\"drain\",\"name\":\"\"}", "invalid volume name");
    check_refused("{\"op\":\"clone\",\"name\":\"v\"}", "needs \"target\"");
    check_refused("{\"op\":\"clone\",\"name\":\"v\",\"target\":\".w\"}",
                  "invalid volume name '.w'");
    check_refused("{\"op\":\"revert\",\"name\":\"v@s\",\"target\":\"w\"}",
                  "does not take \"target\"");
    check_refused("{\"op\":\"create\",\"name\":\"v\"}", "needs \"size\"");
    check_refused("{\"op\":\"create\",\"name\":\"v\",\"size\":-1}",
                  "needs \"size\"");
    check_refused("{\"op\":\"create\",\"name\":\"v\",\"size\":\"1\"}",
                  "needs \"size\"");
    check_refused("{\"op\":\"create\",\"name\":\"v\",\"size\":1.5}",
                  "needs \"size\"");
    check_refused("{\"op\":\"resize\",\"name\":\"v\",\"size\":1,"
                  "\"shrink\":1}",
                  "\"shrink\" must be true or false");
    check_refused("{\"op\":\"resize\",\"name\":\"v\",\"size\":1,"
                  "\"replace\":true}",
                  "does not take \"replace\"");
    check_refused("{\"op\":\"create\",\"name\":\"v\",\"size\":1,"
                  "\"preallocate\":1}",
                  "\"preallocate\" must be true or false");
    check_refused("{\"op\":\"resize\",\"name\":\"v\",\"size\":1,"
                  "\"preallocate\":true}",
                  "does not take \"preallocate\"");
    check_refused("{\"op\":\"delete\",\"name\":\"v\",\"shrink\":true}",
                  "does not take \"shrink\"");
    check_refused("{\"op\":\"drain\",\"host\":\"b\"}", "a number in 1…65535");
    check_refused("{\"op\":\"drain\",\"port\":7}", "a string of 1 to 255");
    check_refused("{\"op\":\"drain\",\"host\":\"\",\"port\":7}",
                  "a string of 1 to 255");
    check_refused("{\"op\":\"drain\",\"host\":\"a\\u0000b\",\"port\":7}",
                  "a string of 1 to 255");
    check_refused("{\"op\":\"drain\",\"host\":\"a\\nb\",\"port\":7}",
                  "without spaces");
    check_refused("{\"op\":\"drain\",\"host\":\"b\",\"port\":65536}",
                  "a number in 1…65535");
    check_refused("{\"op\":\"drain\",\"host\":\"b\",\"port\":\"7\"}",
                  "a number in 1…65535");
    check_refused("{\"op\":\"resume\",\"host\":\"b\",\"port\":7}",
                  "does not take \"host\"");
    check_refused("{\"op\":\"flatten\"}", "needs \"name\"");
    check_refused("{\"op\":{\"a\":{\"b\":{\"c\":1}}}}", "not a JSON");
}

static const struct unit_test tests[] = {
    { "each request is understood", test_requests },
    { "a malformed request is refused with a sentence", test_malformed },
};

UNIT_SUITE("server-parse", tests)
