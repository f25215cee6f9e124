/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of a client session: names, ranges, sentences. */
#include <errno.h>

#include "transport/initiator/options.h"
#include "tests/unit/support/unit.h"

static struct rdisk_initiator_options options;
static struct rdisk_error err;

static int set(const char *name, const char *value)
{
    memset(&err, 0, sizeof(err));
    return rdisk_initiator_option_set(&options, name, value, &err);
}

static void refuses(const char *name, const char *value)
{
    struct rdisk_initiator_options before = options;

    CHECK_EQUAL(set(name, value), -EINVAL);
    CHECK_SAYS(err.text, name);
    CHECK(!memcmp(&before, &options, sizeof(options)));
}

static void defaults(void)
{
    rdisk_initiator_options_init(&options);
    options.host = "h";
    options.volume = "v";
    CHECK_EQUAL(rdisk_initiator_options_check(&options, &err), 0);
    CHECK_EQUAL(options.port, RDISK_DEFAULT_PORT);
    CHECK_EQUAL(options.queues, RDISK_DEFAULT_QUEUES);
    CHECK(!options.read_only && !options.shared);
}

static void booleans(void)
{
    CHECK_EQUAL(set("read-only", "on"), 0);
    CHECK(options.read_only);
    CHECK_EQUAL(set("read-only", "off"), 0);
    CHECK(!options.read_only);
    CHECK_EQUAL(set("shared", "on"), 0);
    CHECK(options.shared);
    refuses("shared", "yes");
    refuses("read-only", "");
}

static void counts(void)
{
    CHECK_EQUAL(set("queues", "64"), 0);
    CHECK_EQUAL(options.queues, 64);
    CHECK_EQUAL(set("slots", "1024"), 0);
    CHECK_EQUAL(options.slots, 1024);
    refuses("queues", "0");
    refuses("queues", "65");
    refuses("queues", "-1");
    refuses("queues", "1.5");
    refuses("queues", "1k");
    refuses("queues", "0x10");
    refuses("queues", "4294967297");
    refuses("slots", "1025");
    refuses("slots", "");
    refuses("slots", "nan");
}

static void sizes(void)
{
    CHECK_EQUAL(set("slot-size", "4096"), 0);
    CHECK_EQUAL(options.slot_size, 4096);
    CHECK_EQUAL(set("slot-size", "64k"), 0);
    CHECK_EQUAL(options.slot_size, 65536);
    CHECK_EQUAL(set("slot-size", "4M"), 0);
    CHECK_EQUAL(options.slot_size, 4 << 20);
    refuses("slot-size", "5M");
    refuses("slot-size", "0");
    refuses("slot-size", "6000");
    refuses("slot-size", "4G");
    refuses("slot-size", "64kk");
    refuses("bounce-size", "0");
    refuses("bounce-size", "1000M");
    CHECK_EQUAL(set("bounce-size", "8M"), 0);
}

static void words(void)
{
    CHECK_EQUAL(set("guest-memory", "window"), 0);
    CHECK_EQUAL(options.guest_memory, RDISK_GUEST_MEMORY_WINDOW);
    CHECK_EQUAL(set("guest-memory", "bounce"), 0);
    CHECK_EQUAL(options.guest_memory, RDISK_GUEST_MEMORY_BOUNCE);
    CHECK_EQUAL(set("guest-memory", "direct"), 0);
    CHECK_EQUAL(options.guest_memory, RDISK_GUEST_MEMORY_DIRECT);
    CHECK(!options.write_acks);
    CHECK_EQUAL(set("write-acks", "on"), 0);
    CHECK(options.write_acks);
    refuses("write-acks", "1");
    refuses("guest-memory", "windows");
    CHECK_SAYS(err.text, "direct, window or bounce");
    refuses("guest-memory", "");
    refuses("guest-memory", "1");
}

static void times(void)
{
    CHECK_EQUAL(set("open-timeout", "0.25"), 0);
    CHECK_EQUAL(options.open_timeout_ms, 250);
    CHECK_EQUAL(set("request-timeout", "0"), 0);
    CHECK_EQUAL(options.request_timeout_ms, 0);
    CHECK_EQUAL(set("heartbeat", "0"), 0);
    CHECK_EQUAL(set("heartbeat", "0.1"), 0);
    CHECK_EQUAL(options.heartbeat_ms, 100);
    /* Never rounded to "no limit". */
    CHECK_EQUAL(set("request-timeout", "0.0001"), 0);
    CHECK_EQUAL(options.request_timeout_ms, 1);
    refuses("open-timeout", "0");
    refuses("open-timeout", "3601");
    refuses("heartbeat", "0.05");
    refuses("heartbeat", "601");
    refuses("heartbeat", "1s");
    refuses("heartbeat", "inf");
}

static void unknown(void)
{
    CHECK_EQUAL(set("colour", "red"), -EINVAL);
    CHECK_SAYS(err.text, "colour");
}

static void ranges_are_told(void)
{
    refuses("queues", "100");
    CHECK_SAYS(err.text, "64");
    refuses("open-timeout", "99999");
    CHECK_SAYS(err.text, "3600 seconds");
    refuses("slot-size", "1");
    CHECK_SAYS(err.text, "4096");
}

static void structure_is_checked(void)
{
    defaults();
    options.slots = 0;
    CHECK_EQUAL(rdisk_initiator_options_check(&options, &err), -EINVAL);
    CHECK_SAYS(err.text, "slots");
    defaults();
    options.heartbeat_ms = 99;
    CHECK_EQUAL(rdisk_initiator_options_check(&options, &err), -EINVAL);
    defaults();
    options.slot_size = 4 << 20;
    options.bounce_size = 1 << 20;
    CHECK_EQUAL(rdisk_initiator_options_check(&options, &err), -EINVAL);
    CHECK_SAYS(err.text, "must fit");
    defaults();
    options.guest_memory = 3;
    CHECK_EQUAL(rdisk_initiator_options_check(&options, &err), -EINVAL);
    CHECK_SAYS(err.text, "guest-memory");
    defaults();
    options.host = NULL;
    CHECK_EQUAL(rdisk_initiator_options_check(&options, &err), -EINVAL);
    defaults();
    options.volume = "../etc";
    CHECK_EQUAL(rdisk_initiator_options_check(&options, &err), -EINVAL);
    defaults();
    options.volume = NULL;
    CHECK_EQUAL(rdisk_initiator_options_check(&options, &err), -EINVAL);
}

static const struct unit_test tests[] = {
    { "the defaults are in range", defaults },
    { "switches are on or off", booleans },
    { "counts are whole and in range", counts },
    { "sizes take k and M and are whole pages", sizes },
    { "a choice takes its words only", words },
    { "times are seconds with decimals", times },
    { "an unknown option is named", unknown },
    { "a refusal names the allowed range", ranges_are_told },
    { "a structure filled by hand is checked too", structure_is_checked },
};

UNIT_SUITE("options", tests)
