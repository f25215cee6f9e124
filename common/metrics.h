/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metrics in Prometheus' text format, made from the reply of rdiskd or
 * rdisk-vhost to "stat": by the server for its HTTP address, by rdisk(1) for a
 * file.
 *
 * metrics_table.c has a row for each metric. Any thread.
 */
#ifndef RDISK_COMMON_METRICS_H
#define RDISK_COMMON_METRICS_H

#include <stddef.h>
#include <stdio.h>

struct json_object;

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_type {
    METRIC_GAUGE,
    METRIC_COUNTER,
    METRIC_HISTOGRAM,
};

/* What a metric has one sample of, or one per operation. */
enum metric_of {
    OF_SERVER, /* rdiskd itself */
    OF_REACTOR,
    OF_CLIENT, /* of the configuration */
    OF_SESSION,
    OF_VOLUME,
    OF_DAEMON, /* rdisk-vhost itself */
    OF_VHOST_REACTOR,
    OF_DISK,
    METRIC_OF_COUNT
};

/* How the value is found at the path. */
enum metric_kind {
    VALUE_NUMBER, /* a number, or true for 1 */
    VALUE_NS,     /* nanoseconds, as seconds */
    VALUE_ONE,    /* always 1; the path is a text that is a label of its name */
    VALUE_IS,     /* 1 if the text is metric.text, else 0 */
    VALUE_PRESENT, /* 1 if there is such a member, else 0 */
    VALUE_LENGTH,  /* elements of an array */
    VALUE_OLDEST,  /* greatest "milliseconds" of an array, as seconds */
    VALUE_OPS,     /* requests by operation: members "reads", "writes", … */
    VALUE_BYTES,   /* of reads and writes: "read_bytes", "write_bytes" */
    VALUE_LATENCY, /* histograms by operation; seconds */
};

struct metric {
    const char *name;
    const char *help; /* a sentence, without the point */
    enum metric_type type;
    enum metric_of of;
    enum metric_kind kind;
    const char *path; /* members, with '.' between them; "": the object */
    const char *text; /* VALUE_IS */
};

/* By name of what they are of. */
extern const struct metric metrics_table[];
extern const size_t metrics_count;

/* An error of @out is left in it (ferror()). */
void metrics_write(FILE *out, struct json_object *stat);

#endif
