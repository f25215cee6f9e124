/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk top: the load of each volume, interval by interval. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tools/control_socket.h"
#include "tools/rdisk.h"
#include "tools/table.h"
#include <rdisk/histogram.h>
#include <rdisk/protocol.h>

/* What the counters of a volume gained, per second where it is a rate. */
struct gain {
    const char *name;
    double reads, writes, others, read_bytes, write_bytes;
    uint64_t read[RDISK_HISTOGRAM_BUCKETS], write[RDISK_HISTOGRAM_BUCKETS];
};

static struct json_object *find(struct json_object *reply, const char *name)
{
    struct json_object *volumes = json_object_object_get(reply, "volumes");

    for (size_t i = 0; i < json_object_array_length(volumes); i++) {
        struct json_object *volume = json_object_array_get_idx(volumes, i);

        if (strcmp(control_text(volume, "name"), name) == 0) {
            return volume;
        }
    }
    return NULL;
}

/* A counter's growth; of a volume closed and opened in between it is all. */
static uint64_t grown(struct json_object *before, struct json_object *after,
                      const char *key)
{
    uint64_t old = before ? control_number(before, key) : 0;
    uint64_t new = control_number(after, key);

    return new >= old ? new - old : new;
}

static struct json_object *member(struct json_object *object, const char *key)
{
    return object ? json_object_object_get(object, key) : NULL;
}

static void grown_latency(struct json_object *before, struct json_object *after,
                          const char *op, uint64_t *gain)
{
    struct json_object *old = member(member(member(before, "latency"), op),
                                     "buckets");
    struct json_object *new = member(member(member(after, "latency"), op),
                                     "buckets");

    for (unsigned int i = 0; i < RDISK_HISTOGRAM_BUCKETS; i++) {
        char key[8];

        snprintf(key, sizeof(key), "%u", i);
        gain[i] = new ? grown(old, new, key) : 0;
    }
}

static void gain_of(struct json_object *before, struct json_object *after,
                    double seconds, struct gain *gain)
{
    struct json_object *old = member(before, "counters");
    struct json_object *new = member(after, "counters");

    *gain = (struct gain) { .name = control_text(after, "name") };
    gain->reads = grown(old, new, rdisk_op_plural(RDISK_OP_READ)) / seconds;
    gain->writes = grown(old, new, rdisk_op_plural(RDISK_OP_WRITE)) / seconds;
    gain->read_bytes = grown(old, new, "read_bytes") / seconds;
    gain->write_bytes = grown(old, new, "write_bytes") / seconds;
    for (unsigned int op = RDISK_OP_FLUSH; op < RDISK_OPS; op++) {
        gain->others += grown(old, new, rdisk_op_plural(op)) / seconds;
    }
    grown_latency(before, after, rdisk_op_name(RDISK_OP_READ), gain->read);
    grown_latency(before, after, rdisk_op_name(RDISK_OP_WRITE), gain->write);
}

static void add_gain(struct gain *sum, const struct gain *gain)
{
    sum->reads += gain->reads;
    sum->writes += gain->writes;
    sum->others += gain->others;
    sum->read_bytes += gain->read_bytes;
    sum->write_bytes += gain->write_bytes;
    for (unsigned int i = 0; i < RDISK_HISTOGRAM_BUCKETS; i++) {
        sum->read[i] += gain->read[i];
        sum->write[i] += gain->write[i];
    }
}

/* ---- Order ------------------------------------------------------------- */

static int by_number(double a, double b)
{
    return (a < b) - (a > b); /* the greatest first */
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct gain *)a)->name,
                  ((const struct gain *)b)->name);
}

static int by_requests(const void *a, const void *b)
{
    const struct gain *x = a, *y = b;

    return by_number(x->reads + x->writes + x->others,
                     y->reads + y->writes + y->others);
}

static int by_bytes(const void *a, const void *b)
{
    const struct gain *x = a, *y = b;

    return by_number(x->read_bytes + x->write_bytes,
                     y->read_bytes + y->write_bytes);
}

static double slowest(const struct gain *gain)
{
    uint64_t read = rdisk_histogram_percentile(gain->read, 0.99);
    uint64_t write = rdisk_histogram_percentile(gain->write, 0.99);

    return read > write ? read : write;
}

static int by_latency(const void *a, const void *b)
{
    return by_number(slowest(a), slowest(b));
}

static const struct {
    const char *name;
    int (*compare)(const void *a, const void *b);
} orders[] = {
    { "requests", by_requests },
    { "bytes", by_bytes },
    { "latency", by_latency },
    { "name", by_name },
};

/* NULL, with a message: there is no such order. */
static int (*order_of(const char *name))(const void *a, const void *b)
{
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        if (!name || strcmp(orders[i].name, name) == 0) {
            return orders[i].compare;
        }
    }
    failed("--sort %s: use requests, bytes, latency or name", name);
    return NULL;
}

/* ---- The table --------------------------------------------------------- */

static const struct table_column columns[] = {
    { "VOLUME", TABLE_NAME },   { "READ/s", TABLE_RIGHT },
    { "WRITE/s", TABLE_RIGHT }, { "OTHER/s", TABLE_RIGHT },
    { "R MB/s", TABLE_RIGHT },  { "W MB/s", TABLE_RIGHT },
    { "R us", TABLE_RIGHT },    { "99 %", TABLE_RIGHT },
    { "W us", TABLE_RIGHT },    { "99 %", TABLE_RIGHT },
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static void format_time(char text[24], const uint64_t *latency, double part)
{
    snprintf(text, 24, "%" PRIu64,
             (rdisk_histogram_percentile(latency, part) + 999) / 1000);
}

static void add_row(struct table *table, const struct gain *gain)
{
    char text[COLUMNS][24];
    const char *cells[COLUMNS] = { gain->name };

    snprintf(text[1], 24, "%.0f", gain->reads);
    snprintf(text[2], 24, "%.0f", gain->writes);
    snprintf(text[3], 24, "%.0f", gain->others);
    snprintf(text[4], 24, "%.1f", gain->read_bytes / 1e6);
    snprintf(text[5], 24, "%.1f", gain->write_bytes / 1e6);
    format_time(text[6], gain->read, 0.5);
    format_time(text[7], gain->read, 0.99);
    format_time(text[8], gain->write, 0.5);
    format_time(text[9], gain->write, 0.99);
    for (size_t i = 1; i < COLUMNS; i++) {
        cells[i] = text[i];
    }
    table_row(table, cells);
}

/* In 80 columns, or as many as the terminal has. */
static size_t width(void)
{
    struct winsize size;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col
               ? size.ws_col
               : 80;
}

/* All of them, and then their sum. */
static void print_gains(const struct gain *gains, size_t count)
{
    struct table *table = table_new(columns, COLUMNS);
    struct gain total = { 0 };
    char name[32];

    for (size_t i = 0; i < count; i++) {
        add_row(table, &gains[i]);
        add_gain(&total, &gains[i]);
    }
    snprintf(name, sizeof(name), "(%zu)", count);
    total.name = name;
    add_row(table, &total);
    table_print(table, width());
    fflush(stdout);
}

static void add_times(struct json_object *object, const char *op,
                      const uint64_t *latency)
{
    struct json_object *times = json_object_new_object();

    json_object_object_add(times, "p50",
                           json_object_new_uint64(
                               rdisk_histogram_percentile(latency, 0.5)));
    json_object_object_add(times, "p99",
                           json_object_new_uint64(
                               rdisk_histogram_percentile(latency, 0.99)));
    json_object_object_add(object, op, times);
}

static struct json_object *gain_json(const struct gain *gain)
{
    const struct {
        const char *name;
        double value;
    } rates[] = {
        { "reads", gain->reads },
        { "writes", gain->writes },
        { "others", gain->others },
        { "read_bytes", gain->read_bytes },
        { "write_bytes", gain->write_bytes },
    };
    struct json_object *object = json_object_new_object();
    struct json_object *latency = json_object_new_object();

    json_object_object_add(object, "name", json_object_new_string(gain->name));
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        json_object_object_add(object, rates[i].name,
                               json_object_new_uint64(rates[i].value + 0.5));
    }
    add_times(latency, "read", gain->read);
    add_times(latency, "write", gain->write);
    json_object_object_add(object, "latency_ns", latency);
    return object;
}

/* One line an interval, so that a program can read it as it comes. */
static void print_gains_json(const struct gain *gains, size_t count)
{
    struct json_object *object = json_object_new_object();
    struct json_object *volumes = json_object_new_array();

    for (size_t i = 0; i < count; i++) {
        json_object_array_add(volumes, gain_json(&gains[i]));
    }
    json_object_object_add(object, "volumes", volumes);
    puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
    fflush(stdout);
    json_object_put(object);
}

static int print_table(struct json_object *before, struct json_object *after,
                       double seconds,
                       int (*order)(const void *a, const void *b), bool json)
{
    struct json_object *volumes = json_object_object_get(after, "volumes");
    size_t length = volumes ? json_object_array_length(volumes) : 0, count = 0;
    struct gain *gains = calloc(length + 1, sizeof(*gains));

    if (!gains) {
        return failed("no memory for a table");
    }
    for (size_t i = 0; i < length; i++) {
        struct json_object *volume = json_object_array_get_idx(volumes, i);

        /* Else no client has it open. */
        if (member(volume, "counters")) {
            gain_of(find(before, control_text(volume, "name")), volume, seconds,
                    &gains[count++]);
        }
    }
    qsort(gains, count, sizeof(*gains), order);
    (json ? print_gains_json : print_gains)(gains, count);
    free(gains);
    return EXIT_OK;
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static struct json_object *sample(const struct arguments *arguments)
{
    return control_call(arguments->control,
                        control_request("list", NULL, NULL));
}

static void pause_for(double seconds)
{
    struct timespec time = {
        .tv_sec = seconds,
        .tv_nsec = (seconds - (time_t)seconds) * 1e9,
    };

    nanosleep(&time, NULL);
}

int command_top(const struct arguments *arguments)
{
    /* Shorter ones would measure mainly the queries. */
    double interval = arguments->interval < 0.1 ? 0.1 : arguments->interval;
    int (*order)(const void *a, const void *b) = order_of(arguments->sort);
    struct json_object *before, *after;
    double began = now();

    if (!order) {
        return EXIT_USAGE;
    }
    before = sample(arguments);

    for (unsigned int i = 0;
         before && (!arguments->count || i < arguments->count); i++) {
        double ended;

        pause_for(interval);
        after = sample(arguments);
        ended = now();
        if (after) {
            if (isatty(STDOUT_FILENO) && !arguments->json) {
                printf("\033[H\033[2J"); /* from the top again */
            }
            print_table(before, after, ended - began, order, arguments->json);
        }
        json_object_put(before);
        before = after;
        began = ended;
    }
    if (!before) {
        return EXIT_FAILED;
    }
    json_object_put(before);
    return EXIT_OK;
}
