/* SPDX-License-Identifier: BSD-3-Clause */
/* Limits in the configuration, and as text. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/config/config.h"
#include "tests/unit/support/unit.h"

static struct config config;
static struct rdisk_error err;

/* 0, or what reading and checking this file comes to. */
static int read_file(const char *text)
{
    char path[] = "/tmp/rdisk-unit-XXXXXX";
    int fd = mkstemp(path), result;

    REQUIRE(fd >= 0);
    REQUIRE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    REQUIRE(config_init(&config) == 0);
    err = (struct rdisk_error) { 0 };
    result = config_read(&config, path, &err);
    unlink(path);
    return result < 0 ? result
                      : throttle_sections_check(config.throttles, &err);
}

static char text_of[THROTTLE_TEXT];

static const char *limits_of(const char *volume)
{
    struct throttle_values values = throttle_sections_find(config.throttles,
                                                           volume);

    return throttle_values_format(&values, text_of);
}

static void first_match_counts(void)
{
    CHECK_EQUAL(read_file("[throttle db-1]\niops = 9000\nbps = 1G\n"
                          "[throttle db-*]\niops = 500\niops-max = 2000\n"
                          "iops-max-length = 60\nbps-write = 10M\n"),
                0);
    CHECK_SAYS(limits_of("db-1"), "iops=9000 bps=1G");
    CHECK_SAYS(limits_of("db-2"), "iops=500 iops-max=2000 iops-max-length=60 "
                                  "bps-write=10M");
    CHECK_SAYS(limits_of("web"), "off");
    config_free(&config);
}

static void refuse(const char *text, const char *why)
{
    CHECK_EQUAL(read_file(text), -EINVAL);
    CHECK_SAYS(err.text, why);
    config_free(&config);
}

static void nonsense_is_refused(void)
{
    refuse("[throttle v]\niops = many\n", "is not between 1 and 100000000");
    refuse("[throttle v]\nbps = 4k\n", "is not between 256k and 1T");
    refuse("[throttle v]\niops = 5\niops-max = 9\niops-max-length = 9999\n",
           "is not between 1 and 3600");
    refuse("[throttle v]\niops = 5\niops = 6\n", "given twice");
    refuse("[throttle v]\niops-max = 9\n", "needs iops, too");
    refuse("[throttle v]\nbps = 1M\nbps-max-length = 9\n",
           "needs bps-max, too");
    refuse("[throttle v]\niops = 100\niops-max = 9\n", "is less than iops");
    refuse("[throttle v]\nspeed = 9\n", "[throttle v] has no limit 'speed'");
    refuse("[throttle a/b]\niops = 9\n", "invalid pattern 'a/b'");
}

static void clients_have_limits(void)
{
    const struct access_client *client;

    CHECK_EQUAL(read_file("[client a]\niops = 100\nread-write = *\n"), 0);
    client = access_find(config.clients, "a");
    REQUIRE(client != NULL);
    CHECK_EQUAL(client->throttle.rates[THROTTLE_IOPS].avg, 100);
    config_free(&config);
}

static void a_reload_applies_them(void)
{
    struct config next;
    struct config_change change;

    CHECK_EQUAL(read_file("[throttle v]\niops = 100\n"), 0);
    next = config;
    CHECK_EQUAL(read_file("[throttle v]\niops = 200\n"), 0);
    config_adopt(&next, &config, &change);
    CHECK_EQUAL(
        throttle_sections_find(next.throttles, "v").rates[THROTTLE_IOPS].avg,
        200);
    config_free(&next);
    config_free(&config);
}

static void text_is_read_as_written(void)
{
    static const char all[] = "iops=1 iops-max=2 iops-max-length=3 "
                              "iops-read=4 iops-write=5 bps=1M bps-read=2M "
                              "bps-write=3M bps-write-max=4M";
    struct throttle_values values;

    CHECK_EQUAL(throttle_values_parse(&values, "it", all, &err), 0);
    CHECK_EQUAL(strcmp(throttle_values_format(&values, text_of), all), 0);
    CHECK_EQUAL(throttle_values_parse(&values, "it", "off", &err), 0);
    CHECK_EQUAL(strcmp(throttle_values_format(&values, text_of), "off"), 0);
    CHECK_EQUAL(throttle_values_parse(&values, "it", "iops", &err), -EINVAL);
    CHECK_SAYS(err.text, "'iops' is not KEY=VALUE");
}

static const struct unit_test tests[] = {
    { "the first section that matches a volume counts", first_match_counts },
    { "limits that make no sense are refused", nonsense_is_refused },
    { "clients have limits, too", clients_have_limits },
    { "a reload applies sections of limits", a_reload_applies_them },
    { "limits are read as they are written", text_is_read_as_written },
};

UNIT_SUITE("server-throttle-section", tests)
