/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk top: what goes on, interval by interval. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/control_socket.h"
#include "tools/rdisk.h"
#include <rdisk/histogram.h>
#include <rdisk/protocol.h>

/* What the counters of a volume gained. */
struct gain {
    uint64_t reads, writes, others, read_bytes, write_bytes;
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
                    struct gain *gain)
{
    struct json_object *old = member(before, "counters");
    struct json_object *new = member(after, "counters");

    memset(gain, 0, sizeof(*gain));
    if (!new) {
        return;
    }
    gain->reads = grown(old, new, rdisk_op_plural(RDISK_OP_READ));
    gain->writes = grown(old, new, rdisk_op_plural(RDISK_OP_WRITE));
    gain->read_bytes = grown(old, new, "read_bytes");
    gain->write_bytes = grown(old, new, "write_bytes");
    for (unsigned int op = RDISK_OP_FLUSH; op < RDISK_OPS; op++) {
        gain->others += grown(old, new, rdisk_op_plural(op));
    }
    grown_latency(before, after, rdisk_op_name(RDISK_OP_READ), gain->read);
    grown_latency(before, after, rdisk_op_name(RDISK_OP_WRITE), gain->write);
}

static void print_times(const uint64_t *latency)
{
    printf("  %7" PRIu64 " %7" PRIu64,
           (rdisk_histogram_percentile(latency, 0.5) + 999) / 1000,
           (rdisk_histogram_percentile(latency, 0.99) + 999) / 1000);
}

static void print_table(struct json_object *before, struct json_object *after,
                        double seconds)
{
    struct json_object *volumes = json_object_object_get(after, "volumes");

    printf("%-20s  %8s %8s %8s  %8s %8s  %7s %7s  %7s %7s\n", "VOLUME",
           "READ/s", "WRITE/s", "OTHER/s", "READ MB", "WRITE MB", "READ 50",
           "99 % us", "WRITE50", "99 % us");
    for (size_t i = 0; i < json_object_array_length(volumes); i++) {
        struct json_object *volume = json_object_array_get_idx(volumes, i);
        const char *name = control_text(volume, "name");
        struct gain gain;

        if (!member(volume, "counters")) {
            continue; /* no client has it open */
        }
        gain_of(find(before, name), volume, &gain);
        printf("%-20s  %8.0f %8.0f %8.0f  %8.1f %8.1f", name,
               gain.reads / seconds, gain.writes / seconds,
               gain.others / seconds, gain.read_bytes / seconds / 1e6,
               gain.write_bytes / seconds / 1e6);
        print_times(gain.read);
        print_times(gain.write);
        printf("\n");
    }
    fflush(stdout);
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
    /* Less would be more of the asking than of the answer. */
    double interval = arguments->interval < 0.1 ? 0.1 : arguments->interval;
    struct json_object *before = sample(arguments), *after;
    double began = now();

    for (unsigned int i = 0;
         before && (!arguments->count || i < arguments->count); i++) {
        double ended;

        pause_for(interval);
        after = sample(arguments);
        ended = now();
        if (after) {
            if (isatty(STDOUT_FILENO)) {
                printf("\033[H\033[2J"); /* from the top again */
            }
            print_table(before, after, ended - began);
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
