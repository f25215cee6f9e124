/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/metrics.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <string.h>

#include <rdisk/histogram.h>
#include <rdisk/protocol.h>

#define LABELS_MAX 4
#define SECOND     1000000000u /* ns */

/*
 * Bounds of a histogram's buckets: powers of two of RDISK_HISTOGRAM_UNIT, from
 * 4 us to 34 s. Prometheus stores a series for each, so that fewer than the
 * server counts have to do.
 */
#define POWER_MIN 4
#define POWER_MAX 27

/* Where the objects are, and by what they differ. The labels of a session are
 * its own: a counter must not fall when one of several ends. */
static const struct {
    const char *program; /* a member that only its reply has */
    const char *array;   /* NULL: the reply itself */
    struct {
        const char *name, *member; /* NULL: its place in the array */
    } labels[LABELS_MAX];
} kinds[METRIC_OF_COUNT] = {
    [OF_SERVER] = { "volumes", NULL, { { 0 } } },
    [OF_REACTOR] = { "volumes", "reactors", { { "reactor", "index" } } },
    [OF_CLIENT] = { "volumes", "clients", { { "client", "name" } } },
    [OF_SESSION] = { "volumes",
                     "sessions",
                     { { "volume", "volume" },
                       { "user", "user" },
                       { "peer", "peer" },
                       { "session", "session" } } },
    [OF_VOLUME] = { "volumes", "volumes", { { "volume", "name" } } },
    [OF_DAEMON] = { "disks", NULL, { { 0 } } },
    [OF_VHOST_REACTOR] = { "disks", "reactors", { { "reactor", NULL } } },
    [OF_DISK] = { "disks", "disks", { { "disk", "name" } } },
};

static const char *const types[] = {
    [METRIC_GAUGE] = "gauge",
    [METRIC_COUNTER] = "counter",
    [METRIC_HISTOGRAM] = "histogram",
};

/* A metric that is being written, and what it is of now. */
struct writer {
    FILE *out;
    const struct metric *metric;
    struct json_object *object;
    size_t index; /* in its array */
    bool headed;  /* HELP and TYPE are out */
};

/* ---- A sample ---------------------------------------------------------- */

static void write_head(struct writer *writer)
{
    const struct metric *metric = writer->metric;

    if (!writer->headed) {
        fprintf(writer->out, "# HELP %s %s.\n# TYPE %s %s\n", metric->name,
                metric->help, metric->name, types[metric->type]);
        writer->headed = true;
    }
}

static void write_label(FILE *out, bool *first, const char *name,
                        const char *value)
{
    fprintf(out, "%s%s=\"", *first ? "{" : ",", name);
    *first = false;
    for (; *value; value++) {
        if (*value == '\n') {
            fputs("\\n", out);
            continue;
        }
        if (*value == '"' || *value == '\\') {
            fputc('\\', out);
        }
        fputc(*value, out);
    }
    fputc('"', out);
}

/* The name, and the labels: those of the object, and up to two more. */
static void write_series(struct writer *writer, const char *suffix,
                         const char *label, const char *value, const char *le)
{
    FILE *out = writer->out;
    bool first = true;

    write_head(writer);
    fprintf(out, "%s%s", writer->metric->name, suffix);
    for (size_t i = 0; i < LABELS_MAX; i++) {
        const char *name = kinds[writer->metric->of].labels[i].name;
        const char *member = kinds[writer->metric->of].labels[i].member;
        struct json_object *text;
        char index[24];

        if (!name) {
            break;
        }
        snprintf(index, sizeof(index), "%zu", writer->index);
        text = member ? json_object_object_get(writer->object, member) : NULL;
        write_label(out, &first, name,
                    !member ? index
                    : text  ? json_object_get_string(text)
                            : "");
    }
    if (label) {
        write_label(out, &first, label, value);
    }
    if (le) {
        write_label(out, &first, "le", le);
    }
    fputs(first ? " " : "} ", out);
}

static void write_number(struct writer *writer, const char *op, uint64_t number)
{
    write_series(writer, "", op ? "op" : NULL, op, NULL);
    fprintf(writer->out, "%" PRIu64 "\n", number);
}

/* @number, of which @unit make a second. */
static void write_seconds(struct writer *writer, uint64_t number, uint64_t unit)
{
    fprintf(writer->out, "%" PRIu64 ".%09" PRIu64 "\n", number / unit,
            number % unit * (SECOND / unit));
}

/* ---- Values ------------------------------------------------------------ */

/* NULL: there is none. */
static struct json_object *find(struct json_object *object, const char *path)
{
    while (object && *path) {
        size_t length = strcspn(path, ".");
        char key[64];

        snprintf(key, sizeof(key), "%.*s", (int)length, path);
        object = json_object_object_get(object, key);
        path += length + (path[length] == '.');
    }
    return object;
}

static uint64_t number_of(struct json_object *object, const char *key)
{
    return json_object_get_uint64(json_object_object_get(object, key));
}

static uint64_t oldest(struct json_object *array)
{
    uint64_t most = 0;

    for (size_t i = 0; i < json_object_array_length(array); i++) {
        uint64_t age = number_of(json_object_array_get_idx(array, i),
                                 "milliseconds");

        most = age > most ? age : most;
    }
    return most;
}

static void write_ops(struct writer *writer, struct json_object *counters)
{
    for (unsigned int op = 1; op < RDISK_OPS; op++) {
        struct json_object *count = json_object_object_get(counters,
                                                           rdisk_op_plural(op));

        if (count) {
            write_number(writer, rdisk_op_name(op),
                         json_object_get_uint64(count));
        }
    }
}

/* The buckets are cumulative, and so need not all be there. */
static void write_histogram(struct writer *writer, const char *op,
                            struct json_object *latency)
{
    struct json_object *buckets = json_object_object_get(latency, "buckets");
    uint64_t count = 0;

    for (unsigned int i = 0; i < RDISK_HISTOGRAM_BUCKETS; i++) {
        uint64_t limit = rdisk_histogram_limit(i), power;
        char text[32];

        snprintf(text, sizeof(text), "%u", i);
        count += number_of(buckets, text);
        power = limit / RDISK_HISTOGRAM_UNIT;
        if ((power & (power - 1)) == 0 && power >= 1u << POWER_MIN &&
            power <= 1u << POWER_MAX) {
            snprintf(text, sizeof(text), "%.9g", limit / (double)SECOND);
            write_series(writer, "_bucket", "op", op, text);
            fprintf(writer->out, "%" PRIu64 "\n", count);
        }
    }
    write_series(writer, "_bucket", "op", op, "+Inf");
    fprintf(writer->out, "%" PRIu64 "\n", count);
    write_series(writer, "_sum", "op", op, NULL);
    write_seconds(writer, number_of(latency, "sum"), SECOND);
    write_series(writer, "_count", "op", op, NULL);
    fprintf(writer->out, "%" PRIu64 "\n", count);
}

static void write_value(struct writer *writer, struct json_object *value)
{
    const struct metric *metric = writer->metric;

    switch (metric->kind) {
    case VALUE_NS:
        write_series(writer, "", NULL, NULL, NULL);
        write_seconds(writer, json_object_get_uint64(value), SECOND);
        break;
    case VALUE_ONE:
        write_series(writer, "", metric->path, json_object_get_string(value),
                     NULL);
        fputs("1\n", writer->out);
        break;
    case VALUE_IS:
        write_number(writer, NULL,
                     strcmp(json_object_get_string(value), metric->text) == 0);
        break;
    case VALUE_LENGTH:
        write_number(writer, NULL, json_object_array_length(value));
        break;
    case VALUE_OLDEST:
        write_series(writer, "", NULL, NULL, NULL);
        write_seconds(writer, oldest(value), 1000);
        break;
    case VALUE_OPS:
        write_ops(writer, value);
        break;
    case VALUE_BYTES:
        write_number(writer, rdisk_op_name(RDISK_OP_READ),
                     number_of(value, "read_bytes"));
        write_number(writer, rdisk_op_name(RDISK_OP_WRITE),
                     number_of(value, "write_bytes"));
        break;
    case VALUE_LATENCY: {
        json_object_object_foreach(value, op, latency)
        {
            write_histogram(writer, op, latency);
        }
        break;
    }
    default: /* VALUE_NUMBER; VALUE_PRESENT is written by its caller */
        write_number(writer, NULL,
                     json_object_is_type(value, json_type_boolean)
                         ? (uint64_t)json_object_get_boolean(value)
                         : json_object_get_uint64(value));
    }
}

static void write_object(struct writer *writer, struct json_object *object,
                         size_t index)
{
    struct json_object *value = find(object, writer->metric->path);

    writer->object = object;
    writer->index = index;
    if (writer->metric->kind == VALUE_PRESENT) {
        write_number(writer, NULL, value != NULL);
    } else if (value) {
        write_value(writer, value);
    }
}

void metrics_write(FILE *out, struct json_object *stat)
{
    for (size_t i = 0; i < metrics_count; i++) {
        const struct metric *metric = &metrics_table[i];
        const char *key = kinds[metric->of].array;
        struct writer writer = { .out = out, .metric = metric };
        struct json_object *array;

        if (!find(stat, kinds[metric->of].program)) {
            continue;
        }
        if (!key) {
            write_object(&writer, stat, 0);
            continue;
        }
        array = json_object_object_get(stat, key);
        for (size_t j = 0; array && j < json_object_array_length(array); j++) {
            write_object(&writer, json_object_array_get_idx(array, j), j);
        }
    }
}
