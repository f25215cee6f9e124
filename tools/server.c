/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk stat */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/metrics.h"
#include "common/size.h"
#include "tools/control_socket.h"
#include "tools/disk.h"
#include "tools/rdisk.h"
#include <rdisk/protocol.h>

static void print_node(struct json_object *object)
{
    int64_t node = (int64_t)control_number(object, "node");

    if (node >= 0) {
        printf(", node %" PRId64, node);
    }
}

static void print_bytes(uint64_t bytes)
{
    char text[SIZE_TEXT];

    printf("%s", size_round(bytes, text, sizeof(text)));
}

static void print_counters(struct json_object *object)
{
    struct json_object *counters;

    if (!json_object_object_get_ex(object, "counters", &counters)) {
        return;
    }
    for (unsigned int op = 1; op < RDISK_OPS; op++) {
        const char *name = rdisk_op_plural(op);

        printf("%s%" PRIu64 " %s", op > 1 ? ", " : "    ",
               control_number(counters, name), name);
        if (op == RDISK_OP_READ || op == RDISK_OP_WRITE) {
            printf(" (");
            print_bytes(control_number(counters, op == RDISK_OP_READ
                                                     ? "read_bytes"
                                                     : "write_bytes"));
            printf(")");
        }
    }
    printf("; %" PRIu64 " failed, %" PRIu64 " refused\n",
           control_number(counters, "failed"),
           control_number(counters, "refused"));
    printf("    %" PRIu64 " receives, %" PRIu64 " work requests, %" PRIu64
           " doorbells, %" PRIu64 " wake-ups\n",
           control_number(counters, "receives"),
           control_number(counters, "work_requests"),
           control_number(counters, "doorbells"),
           control_number(counters, "wakeups"));
}

/* Percentiles in microseconds, a line for all operations. */
static void print_latency(struct json_object *object)
{
    struct json_object *latency;
    const char *comma = "    ";

    if (!json_object_object_get_ex(object, "latency", &latency) ||
        json_object_object_length(latency) == 0) {
        return;
    }
    json_object_object_foreach(latency, op, times)
    {
        printf("%s%s %" PRIu64 "/%" PRIu64 "/%" PRIu64, comma, op,
               control_number(times, "p50"), control_number(times, "p99"),
               control_number(times, "p999"));
        comma = ", ";
    }
    printf(" us (50/99/99.9 %% take less)\n");
}

static void print_server(struct json_object *stat)
{
    const char *device = control_text(stat, "device");

    printf("rdiskd %s, %s on %s for %" PRIu64 " s\n",
           control_text(stat, "version"), control_text(stat, "state"),
           control_text(stat, "address"), control_number(stat, "uptime"));
    printf("device %s", device[0] ? device : "not known");
    print_node(stat);
    printf("; ");
    print_bytes(control_number(stat, "memory"));
    printf(" of ");
    print_bytes(control_number(stat, "max_memory"));
    printf(" of slots in use\n");
}

static void print_reactor(struct json_object *reactor)
{
    printf("reactor %" PRIu64 ": core %" PRId64,
           control_number(reactor, "index"),
           (int64_t)control_number(reactor, "core"));
    print_node(reactor);
    printf(", %" PRIu64 " queues, %" PRIu64 " turns (%" PRIu64
           " without sleep), %" PRIu64 " completions (%" PRIu64 " polled)\n",
           control_number(reactor, "queues"), control_number(reactor, "turns"),
           control_number(reactor, "spins"),
           control_number(reactor, "completions"),
           control_number(reactor, "polled"));
}

static void print_session(struct json_object *session)
{
    const char *user = control_text(session, "user");

    printf("session %s%s%s%s: volume %s%s%s%s, epoch %" PRIu64 ", %" PRIu64
           " queues, ",
           control_text(session, "peer"), user[0] ? " (" : "", user,
           user[0] ? ")" : "", control_text(session, "volume"),
           control_number(session, "read_only") ? ", read-only" : "",
           control_number(session, "shared") ? ", shared" : "",
           control_number(session, "fenced") ? ", fenced" : "",
           control_number(session, "epoch"), control_number(session, "queues"));
    print_bytes(control_number(session, "memory"));
    printf(" of %" PRIu64 " slots", control_number(session, "slots"));
    if (control_number(session, "slots_wanted")) {
        printf(", %" PRIu64 " more wanted",
               control_number(session, "slots_wanted"));
    }
    printf("\n    slots: waited %" PRIu64 " times, %" PRIu64 " grants, %" PRIu64
           " recalled, %" PRIu64 " returned\n",
           control_number(session, "slot_waits"),
           control_number(session, "slot_grants"),
           control_number(session, "slot_recalls"),
           control_number(session, "slot_returns"));
    print_counters(session);
}

static void print_throttle(struct json_object *object)
{
    struct json_object *throttle;

    if (json_object_object_get_ex(object, "throttle", &throttle) &&
        throttle_is_set(throttle)) {
        printf("    ");
        throttle_print(throttle);
    }
}

static void print_client(struct json_object *client)
{
    uint64_t sessions = control_number(client, "max_sessions");
    uint64_t memory = control_number(client, "max_memory");

    printf("client %s: %" PRIu64, control_text(client, "name"),
           control_number(client, "sessions"));
    if (sessions) {
        printf(" of %" PRIu64, sessions);
    }
    printf(" sessions, ");
    print_bytes(control_number(client, "memory"));
    if (memory) {
        printf(" of ");
        print_bytes(memory);
    }
    printf(" of slots\n");
    print_throttle(client);
}

static void print_lease(struct json_object *volume)
{
    struct json_object *lease;
    uint64_t kept;

    if (!json_object_object_get_ex(volume, "lease", &lease)) {
        return;
    }
    kept = control_number(lease, "kept");
    printf("    generation %" PRIu64, control_number(lease, "generation"));
    if (control_number(lease, "writers")) {
        printf(", written by %" PRIu64 ", last by %s",
               control_number(lease, "writers"), control_text(lease, "peer"));
    } else if (kept) {
        printf(", kept for %" PRIu64 " s for %s", kept,
               control_text(lease, "peer"));
    } else {
        printf(", not written by anybody, last by %s",
               control_text(lease, "peer"));
    }
    printf("\n");
}

static void print_volume(struct json_object *volume)
{
    char size[SIZE_TEXT];

    const char *submission = control_text(volume, "submission");

    printf("volume %s: %s, %s%s%s%s%s%s, %" PRIu64 " sessions",
           control_text(volume, "name"), control_text(volume, "backend"),
           size_format(control_number(volume, "size"), size, sizeof(size)),
           control_number(volume, "read_only") ? ", read-only" : "",
           submission[0] ? ", " : "", submission,
           control_number(volume, "drained") ? ", drained" : "",
           control_number(volume, "write_back_failed")
               ? ", write-back failed: flushes fail"
               : "",
           control_number(volume, "sessions"));
    if (control_number(volume, "polled")) {
        printf(", %" PRIu64 " requests polled for",
               control_number(volume, "polled"));
    }
    if (control_number(volume, "longest_pause")) {
        printf(", held by snapshots for up to %g ms",
               control_number(volume, "longest_pause") / 1000.0);
    }
    printf("\n");
    print_lease(volume);
    print_throttle(volume);
    print_counters(volume);
    print_latency(volume);
}

static void print_each(struct json_object *stat, const char *key,
                       void (*print)(struct json_object *object))
{
    struct json_object *array;

    if (json_object_object_get_ex(stat, key, &array)) {
        for (size_t i = 0; i < json_object_array_length(array); i++) {
            print(json_object_array_get_idx(array, i));
        }
    }
}

/* How full the pool is, and how far its volumes could fill it. */
void pool_print(struct json_object *stat)
{
    struct json_object *pool;

    if (!json_object_object_get_ex(stat, "pool", &pool)) {
        return;
    }
    printf("pool %s: ", control_text(pool, "directory"));
    print_bytes(control_number(pool, "available"));
    printf(" of ");
    print_bytes(control_number(pool, "capacity"));
    printf(" available; %" PRIu64 " volumes of ",
           control_number(pool, "volumes"));
    print_bytes(control_number(pool, "provisioned"));
    printf(", ");
    print_bytes(control_number(pool, "allocated"));
    printf(" allocated\n");
}

/* Of @key, all whose member @name is @value. */
static struct json_object *members(struct json_object *stat, const char *key,
                                   const char *name, const char *value)
{
    struct json_object *array = json_object_object_get(stat, key);
    struct json_object *found = json_object_new_array();

    for (size_t i = 0; array && i < json_object_array_length(array); i++) {
        struct json_object *object = json_object_array_get_idx(array, i);

        if (strcmp(control_text(object, name), value) == 0) {
            json_object_array_add(found, json_object_get(object));
        }
    }
    return found;
}

/* What the volume takes up, which its storage is asked for. */
static int add_usage(const struct arguments *arguments, const char *name,
                     struct json_object *info)
{
    struct json_object *usage = control_call(arguments->control,
                                             control_request("usage", name,
                                                             NULL));

    json_object_object_add(info, "usage", usage);
    return usage ? EXIT_OK : EXIT_FAILED;
}

/* What is known without its storage comes first, which may not answer. */
static int print_server_info(const struct arguments *arguments,
                             struct json_object *info)
{
    struct json_object *volume = json_object_object_get(info, "volume");
    int result;

    if (!arguments->json) {
        print_volume(volume);
        print_each(info, "sessions", print_session);
        fflush(stdout);
    }
    result = add_usage(arguments, arguments->words[0], info);
    if (arguments->json) {
        print_json(info);
    } else if (result == EXIT_OK) {
        usage_print(json_object_object_get(info, "usage"));
    }
    return result;
}

int server_info(const struct arguments *arguments)
{
    const char *name = arguments->words[0];
    struct json_object *stat = control_call(arguments->control,
                                            control_request("stat", NULL,
                                                            NULL));
    struct json_object *volumes, *info;
    int result = EXIT_OK;

    if (!stat) {
        return EXIT_FAILED;
    }
    volumes = members(stat, "volumes", "name", name);
    info = json_object_new_object();
    json_object_object_add(info, "volume",
                           json_object_get(
                               json_object_array_get_idx(volumes, 0)));
    json_object_object_add(info, "sessions",
                           members(stat, "sessions", "volume", name));
    if (!json_object_array_length(volumes)) {
        result = failed_code(-ENOENT, "there is no volume '%s'", name);
    } else {
        result = print_server_info(arguments, info);
    }
    json_object_put(info);
    json_object_put(volumes);
    json_object_put(stat);
    return result;
}

int command_stat(const struct arguments *arguments)
{
    struct json_object *stat = control_call(arguments->control,
                                            control_request("stat", NULL,
                                                            NULL));

    if (!stat) {
        return EXIT_FAILED;
    }
    if (arguments->prometheus) {
        metrics_write(stdout, stat);
    } else if (arguments->json) {
        print_json(stat);
    } else if (disks_are_in(stat)) {
        disks_print_stat(stat);
    } else {
        print_server(stat);
        print_each(stat, "reactors", print_reactor);
        print_each(stat, "clients", print_client);
        print_each(stat, "sessions", print_session);
        print_each(stat, "volumes", print_volume);
        pool_print(stat);
    }
    json_object_put(stat);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return failed_code(-errno, "cannot write the output: %s",
                           strerror(errno));
    }
    return EXIT_OK;
}
