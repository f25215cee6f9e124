/* SPDX-License-Identifier: BSD-3-Clause */
/* The metrics that a reply to "stat" becomes. */
#include <ctype.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "common/metrics.h"
#include "tests/unit/support/unit.h"

/* To be freed. */
static char *written(const char *stat)
{
    struct json_object *object = json_tokener_parse(stat);
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    REQUIRE(object != NULL && out != NULL);
    metrics_write(out, object);
    CHECK_EQUAL(fclose(out), 0);
    json_object_put(object);
    return text;
}

static bool has_line(const char *text, const char *line)
{
    size_t length = strlen(line);

    for (; text; text = strchr(text, '\n')) {
        text += *text == '\n';
        if (strncmp(text, line, length) == 0 && text[length] == '\n') {
            return true;
        }
    }
    return false;
}

static void numbers_and_labels(void)
{
    char *text = written(
        "{\"version\":\"1.2\",\"uptime\":7,\"state\":\"drained\","
        "\"process\":{\"cpu\":1500000000},\"operations\":["
        "{\"milliseconds\":20},{\"milliseconds\":2500}],\"sessions\":[],"
        "\"volumes\":[{\"name\":\"v\",\"drained\":true,\"counters\":{"
        "\"reads\":3,\"writes\":4,\"read_bytes\":4096,\"write_bytes\":1}}]}");

    CHECK(has_line(text, "rdisk_server_info{version=\"1.2\"} 1"));
    CHECK(has_line(text, "rdisk_server_uptime_seconds 7"));
    CHECK(has_line(text, "rdisk_server_serving 0"));
    CHECK(has_line(text, "rdisk_server_cpu_seconds_total 1.500000000"));
    CHECK(has_line(text, "rdisk_server_sessions 0"));
    CHECK(has_line(text, "rdisk_server_storage_operations 2"));
    CHECK(has_line(text,
                   "rdisk_server_storage_operation_age_seconds 2.500000000"));
    CHECK(has_line(text, "rdisk_pool_error 0"));
    CHECK(has_line(text, "rdisk_volume_drained{volume=\"v\"} 1"));
    CHECK(has_line(text,
                   "rdisk_volume_requests_total{volume=\"v\",op=\"write\"} 4"));
    CHECK(has_line(text,
                   "rdisk_volume_bytes_total{volume=\"v\",op=\"read\"} 4096"));
    CHECK(has_line(text, "# TYPE rdisk_volume_bytes_total counter"));
    free(text);
}

static void what_is_missing(void)
{
    char *text = written("{\"volumes\":[]}");

    CHECK(strstr(text, "rdisk_volume_") == NULL);
    CHECK(strstr(text, "rdisk_pool_capacity") == NULL);
    CHECK(strstr(text, "rdisk_vhost_") == NULL);
    free(text);
    text = written("{\"error\":\"it cannot be done\"}");
    CHECK_EQUAL(strlen(text), 0);
    free(text);
}

static void escaped(void)
{
    char *text = written("{\"volumes\":[],\"sessions\":[{\"volume\":\"v\","
                         "\"user\":\"a\\\"b\\\\c\\nd\",\"peer\":\"p\","
                         "\"session\":9,\"queues\":2}]}");

    CHECK(has_line(text, "rdisk_session_queues{volume=\"v\",user="
                         "\"a\\\"b\\\\c\\nd\",peer=\"p\",session=\"9\"} 2"));
    free(text);
}

/* Buckets 15 and 16 of the server's: below 8.192 us and 10.24 us. */
static void histograms(void)
{
    char *text = written(
        "{\"volumes\":[{\"name\":\"v\",\"latency\":{\"read\":{\"sum\":"
        "1000000001,\"buckets\":{\"0\":1,\"15\":2,\"16\":4}}}}]}");
    const char *of = "rdisk_volume_request_duration_seconds";
    char line[128];

    for (size_t i = 0; i < 5; i++) {
        static const char *const rest[] = {
            "_bucket{volume=\"v\",op=\"read\",le=\"4.096e-06\"} 1",
            "_bucket{volume=\"v\",op=\"read\",le=\"8.192e-06\"} 3",
            "_bucket{volume=\"v\",op=\"read\",le=\"1.6384e-05\"} 7",
            "_bucket{volume=\"v\",op=\"read\",le=\"+Inf\"} 7",
            "_sum{volume=\"v\",op=\"read\"} 1.000000001",
        };

        snprintf(line, sizeof(line), "%s%s", of, rest[i]);
        CHECK(has_line(text, line));
    }
    snprintf(line, sizeof(line), "%s_count{volume=\"v\",op=\"read\"} 7", of);
    CHECK(has_line(text, line));
    free(text);
}

static void disks(void)
{
    char *text = written(
        "{\"disks\":[{\"name\":\"d\",\"state\":\"open\",\"connected\":true,"
        "\"writes\":5,\"held\":true}],\"reactors\":[{\"turns\":1},"
        "{\"turns\":2}]}");

    CHECK(has_line(text, "rdisk_vhost_disks 1"));
    CHECK(has_line(text, "rdisk_vhost_disk_open{disk=\"d\"} 1"));
    CHECK(has_line(text, "rdisk_vhost_disk_held{disk=\"d\"} 1"));
    CHECK(has_line(text, "rdisk_vhost_disk_error{disk=\"d\"} 0"));
    CHECK(has_line(text,
                   "rdisk_vhost_disk_requests_total{disk=\"d\",op=\"write\"} "
                   "5"));
    CHECK(has_line(text, "rdisk_vhost_reactor_turns_total{reactor=\"1\"} 2"));
    CHECK(strstr(text, "rdisk_server_") == NULL);
    free(text);
}

/* What promtool would find fault with. */
static void names(void)
{
    for (size_t i = 0; i < metrics_count; i++) {
        const struct metric *metric = &metrics_table[i];
        size_t length = strlen(metric->name);
        bool total = length > 6 &&
                     strcmp(metric->name + length - 6, "_total") == 0;

        CHECK_EQUAL(total, metric->type == METRIC_COUNTER);
        CHECK_EQUAL(metric->type == METRIC_HISTOGRAM,
                    metric->kind == VALUE_LATENCY);
        CHECK(metric->help[0] && metric->help[strlen(metric->help) - 1] != '.');
        for (size_t j = 0; j < length; j++) {
            CHECK(islower((unsigned char)metric->name[j]) ||
                  metric->name[j] == '_');
        }
        for (size_t j = 0; j < i; j++) {
            CHECK(strcmp(metrics_table[j].name, metric->name) != 0);
        }
    }
}

static const struct unit_test tests[] = {
    { "numbers have labels and units", numbers_and_labels },
    { "what a reply does not have is left out", what_is_missing },
    { "label values are escaped", escaped },
    { "a histogram's buckets are cumulative, with sum and count", histograms },
    { "rdisk-vhost's disks have metrics of their own", disks },
    { "names are unique and follow Prometheus' conventions", names },
};

UNIT_SUITE("metrics", tests)
