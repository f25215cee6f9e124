/* SPDX-License-Identifier: BSD-3-Clause */
/* Which limits a volume and a client have: by configuration or by command. */
#include <errno.h>
#include <stdlib.h>

#include "server/server.h"
#include "server/session/throttled.h"
#include "tests/unit/support/unit.h"

static struct config config;
static struct server server;
static struct rdisk_error err;

static void configure(const char *pattern, const char *iops)
{
    struct throttle_section *section = throttle_section_add(&config.throttles,
                                                            pattern, &err);

    section->seen = 0;
    CHECK_EQUAL(throttle_section_set(section, "iops", iops, &err), 0);
}

static void begin(void)
{
    REQUIRE(config_init(&config) == 0);
    server = (struct server) { .config = &config };
    configure("v*", "100");
}

static void end(void)
{
    CHECK(server.throttled == NULL);
    throttled_free(&server);
    config_free(&config);
}

static uint64_t iops(const struct throttled *throttled)
{
    return throttled->values.rates[THROTTLE_IOPS].avg;
}

static void sessions_share_one(void)
{
    struct throttled *first, *second, *other;

    begin();
    first = throttled_get(&server, false, "v1");
    second = throttled_get(&server, false, "v1");
    other = throttled_get(&server, true, "v1");
    CHECK(first == second && first != other);
    CHECK_EQUAL(iops(first), 100);
    CHECK(throttle_is_active(&first->throttle));
    CHECK(!throttle_is_active(&other->throttle));
    throttled_put(&server, first);
    CHECK(throttled_find(&server, false, "v1") == second);
    throttled_put(&server, second);
    CHECK(throttled_find(&server, false, "v1") == NULL);
    throttled_put(&server, other);
    throttled_put(&server, NULL);
    end();
}

static void a_command_counts_until_reload(void)
{
    struct throttled *throttled;

    begin();
    throttled = throttled_get(&server, false, "v1");
    CHECK_EQUAL(throttled_command(&server, false, "v1", "iops=7", &err), 0);
    CHECK_EQUAL(iops(throttled), 7);
    /* The volume is closed and opened again. */
    throttled_put(&server, throttled);
    throttled = throttled_get(&server, false, "v1");
    CHECK_EQUAL(iops(throttled), 7);
    configure("v*", "200");
    throttled_reload(&server);
    CHECK_EQUAL(iops(throttled), 200);
    CHECK(!throttled->commanded);
    throttled_put(&server, throttled);
    /* Of a volume that no client has open, a reload removes it. */
    CHECK_EQUAL(throttled_command(&server, false, "w", "iops=7", &err), 0);
    CHECK(throttled_find(&server, false, "w") != NULL);
    throttled_reload(&server);
    end();
}

static void a_command_takes_itself_back(void)
{
    struct throttled *throttled;

    begin();
    throttled = throttled_get(&server, false, "v1");
    CHECK_EQUAL(throttled_command(&server, false, "v1", "off", &err), 0);
    CHECK(!throttle_is_active(&throttled->throttle));
    CHECK_EQUAL(throttled_command(&server, false, "v1", "configured", &err), 0);
    CHECK_EQUAL(iops(throttled), 100);
    CHECK_EQUAL(throttled_command(&server, false, "v1", "iops=no", &err),
                -EINVAL);
    CHECK_SAYS(err.text, "iops = no of volume 'v1' is not between");
    CHECK_EQUAL(iops(throttled), 100);
    throttled_put(&server, throttled);
    end();
}

/* What waits for a limit waits on, if a reload does not change it. */
static void unchanged_limits_stay(void)
{
    struct throttled *throttled;

    begin();
    throttled = throttled_get(&server, false, "v1");
    for (unsigned int i = 0; i < 100; i++) {
        throttle_charge(&throttled->throttle, FLOW_READS, 0, 1);
    }
    throttled_reload(&server);
    CHECK(throttle_wait(&throttled->throttle, FLOW_READS, 1) > 0);
    throttled_put(&server, throttled);
    end();
}

static void counters_stay(void)
{
    struct throttled *throttled;

    begin();
    throttled = throttled_get(&server, false, "v1");
    throttle_count(&throttled->throttle, 5);
    throttled_put(&server, throttled);
    REQUIRE(throttled_find(&server, false, "v1") != NULL);
    CHECK_EQUAL(throttled_find(&server, false, "v1")->throttle.time, 5);
    throttled_reload(&server);
    CHECK(throttled_get(&server, false, "v1") == throttled);
    throttled_free(&server);
    end();
}

static const struct unit_test tests[] = {
    { "sessions of a volume, or of a client, share its limits",
      sessions_share_one },
    { "limits by command count until the next reload",
      a_command_counts_until_reload },
    { "a command gives back what the configuration says",
      a_command_takes_itself_back },
    { "what has waited is counted after the last session's end, too",
      counters_stay },
    { "a reload that changes no limit gives nothing away",
      unchanged_limits_stay },
};

UNIT_SUITE("server-throttled", tests)
