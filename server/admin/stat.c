/* SPDX-License-Identifier: BSD-3-Clause */
/* What the server reports about itself; rdisk(1) lists the members. */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/container_of.h"
#include "common/hex.h"
#include "common/snapshot_name.h"
#include "server/admin/command.h"
#include "server/admin/listing.h"
#include "server/server.h"
#include "server/session/queue.h"
#include "server/session/session.h"

static void add_text(struct json_object *object, const char *key,
                     const char *value)
{
    json_object_object_add(object, key, json_object_new_string(value));
}

static void add_number(struct json_object *object, const char *key,
                       int64_t value)
{
    json_object_object_add(object, key, json_object_new_int64(value));
}

static void add_bool(struct json_object *object, const char *key, bool value)
{
    json_object_object_add(object, key, json_object_new_boolean(value));
}

static void add_counters(struct json_object *object,
                         const struct rdisk_target_counters *counters)
{
    struct json_object *inner = json_object_new_object();
    const struct rdisk_op_totals *ops = &counters->ops;

    for (unsigned int op = 1; op < RDISK_OPS; op++) {
        add_number(inner, rdisk_op_plural(op), ops->count[op]);
    }
    add_number(inner, "failed", ops->failed);
    add_number(inner, "read_bytes", ops->bytes[RDISK_OP_READ]);
    add_number(inner, "write_bytes", ops->bytes[RDISK_OP_WRITE]);
    add_number(inner, "refused", counters->refused);
    add_number(inner, "receives", counters->receives);
    add_number(inner, "work_requests", counters->work_requests);
    add_number(inner, "doorbells", counters->doorbells);
    add_number(inner, "wakeups", counters->wakeups);
    add_number(inner, "in_flight", counters->in_flight);
    json_object_object_add(object, "counters", inner);
}

/* Microseconds, rounded up: "below that". */
static void add_time(struct json_object *object, const char *key,
                     const uint64_t *latency, double part)
{
    add_number(object, key,
               (rdisk_histogram_percentile(latency, part) + 999) / 1000);
}

/* By operation; in buckets, so that two reports can be subtracted. */
static void add_latency(struct json_object *object,
                        const struct rdisk_target_counters *counters)
{
    struct json_object *all = json_object_new_object();

    for (unsigned int op = 0; op < RDISK_OPS; op++) {
        const uint64_t *latency = counters->latency[op];
        struct json_object *inner, *buckets;

        if (!rdisk_histogram_percentile(latency, 1)) {
            continue;
        }
        inner = json_object_new_object();
        buckets = json_object_new_object();
        add_time(inner, "p50", latency, 0.5);
        add_time(inner, "p99", latency, 0.99);
        add_time(inner, "p999", latency, 0.999);
        add_number(inner, "sum", counters->latency_sum[op]);
        for (unsigned int i = 0; i < RDISK_HISTOGRAM_BUCKETS; i++) {
            char key[8];

            if (latency[i]) {
                snprintf(key, sizeof(key), "%u", i);
                add_number(buckets, key, latency[i]);
            }
        }
        json_object_object_add(inner, "buckets", buckets);
        json_object_object_add(all, rdisk_op_name(op), inner);
    }
    json_object_object_add(object, "latency", all);
}

/* ---- Volumes ---------------------------------------------------------- */

static void add_client(struct json_object *object, const uint8_t *client)
{
    char text[HEX_SIZE(RDISK_ID_SIZE)];

    hex_print(client, RDISK_ID_SIZE, text);
    add_text(object, "client", text);
}

/* Its writers, or the last one. */
static void add_lease(struct json_object *object, const struct lease *lease)
{
    const struct lease_record *record = &lease->record;
    uint64_t kept = lease_seconds_kept(lease, rdisk_now(&rdisk_env_system));
    struct json_object *inner = json_object_new_object();

    add_number(inner, "generation", record->generation);
    add_bool(inner, "held", record->held);
    add_bool(inner, "shared", record->shared);
    add_number(inner, "writers", lease->writers);
    add_text(inner, "peer", record->peer);
    add_client(inner, record->client);
    add_number(inner, "kept", lease->writers ? 0 : kept);
    json_object_object_add(object, "lease", inner);
}

static void add_identity(struct json_object *object, const uint8_t *identity)
{
    char text[HEX_SIZE(RDISK_ID_SIZE)];

    hex_print(identity, RDISK_ID_SIZE, text);
    add_text(object, "identity", text);
}

static struct json_object *stat_volume(const struct pool_entry *entry)
{
    struct json_object *object = json_object_new_object();
    const struct volume *volume = entry->volume;
    struct rdisk_target_counters counters;
    unsigned int sessions = 0;
    uint64_t polled;

    add_text(object, "name", entry->name);
    add_text(object, "backend", entry->backend);
    add_number(object, "size", entry->size);
    if (entry->file && entry->file->allocated != POOL_UNKNOWN) {
        add_number(object, "allocated", entry->file->allocated);
    }
    if (entry->lease) {
        add_lease(object, entry->lease);
    }
    if (!volume) {
        add_number(object, "sessions", 0);
        return object;
    }
    counters = volume->past;
    polled = volume->polled_past;
    for (struct volume_holder *holder = volume->holders; holder;
         holder = holder->next) {
        const struct session *session = container_of(holder, struct session,
                                                     holder);

        session_counters(session, &counters);
        polled += session_polled(session);
        sessions++;
    }
    add_number(object, "sessions", sessions);
    add_bool(object, "configured", volume->configured);
    add_identity(object, volume->backend->identity);
    add_number(object, "block_size", volume->backend->geometry.block_size);
    add_text(object, "submission",
             volume->backend->inline_io ? "inline"
             : volume->backend->polled  ? "polled"
                                        : "io_uring");
    add_number(object, "polled", polled);
    add_bool(object, "read_only", volume->backend->geometry.read_only);
    add_number(object, "longest_pause", volume->longest_pause / 1000);
    add_bool(object, "write_back_failed", backend_has_lost(volume->backend));
    add_number(object, "write_back_failures", backend_losses(volume->backend));
    add_counters(object, &counters);
    add_latency(object, &counters);
    return object;
}

struct listed {
    struct json_object *volumes;
    const struct server *server;
};

/* Of snapshots only those that are open. */
static void add_volume(void *opaque, const struct pool_entry *entry)
{
    struct listed *listed = opaque;
    struct json_object *volume;

    if (snapshot_is_name(entry->name) && !entry->volume) {
        return;
    }
    volume = stat_volume(entry);
    add_bool(volume, "drained",
             drain_covers(&listed->server->drain, entry->name));
    json_object_object_add(volume, "throttle",
                           stat_throttle(listed->server, false, entry->name));
    json_object_array_add(listed->volumes, volume);
}

static int by_name(const void *a, const void *b)
{
    struct json_object *const *x = a, *const *y = b;

    return strcmp(json_object_get_string(json_object_object_get(*x, "name")),
                  json_object_get_string(json_object_object_get(*y, "name")));
}

static struct json_object *stat_volumes(struct server *server,
                                        const struct pool_listing *found)
{
    struct listed listed = {
        .volumes = json_object_new_array(),
        .server = server,
    };

    pool_for_each(&server->pool, found->files, found->count, add_volume,
                  &listed);
    json_object_array_sort(listed.volumes, by_name);
    return listed.volumes;
}

/* Its directory, the file system, and what its volumes may and do take up. */
static struct json_object *stat_pool(const struct server *server,
                                     const struct pool_listing *found)
{
    struct json_object *object = json_object_new_object();
    uint64_t provisioned = 0, allocated = 0, volumes = 0;

    for (size_t i = 0; i < found->count; i++) {
        allocated += found->files[i].allocated;
        if (!snapshot_is_name(found->files[i].name)) {
            provisioned += found->files[i].size; /* a snapshot does not grow */
            volumes++;
        }
    }
    add_text(object, "directory", server->pool.path);
    add_number(object, "capacity", found->space.capacity);
    add_number(object, "available", found->space.available);
    add_number(object, "volumes", volumes);
    add_number(object, "snapshots", found->count - volumes);
    add_number(object, "provisioned", provisioned);
    add_number(object, "allocated", allocated);
    return object;
}

static void add_pool(struct json_object *reply, const struct server *server,
                     const struct pool_listing *found)
{
    if (server->pool.path && found->space.capacity) {
        json_object_object_add(reply, "pool", stat_pool(server, found));
    }
}

struct json_object *stat_list(struct server *server,
                              const struct pool_listing *found)
{
    struct json_object *reply = json_object_new_object();

    json_object_object_add(reply, "volumes", stat_volumes(server, found));
    add_pool(reply, server, found);
    return reply;
}

static bool is_of(const char *name, const char *volume)
{
    return snapshot_is_name(name) &&
           (!volume[0] || (snapshot_volume_length(name) == strlen(volume) &&
                           memcmp(name, volume, strlen(volume)) == 0));
}

struct json_object *stat_snapshots(const struct pool_listing *found,
                                   const char *volume)
{
    struct json_object *reply = json_object_new_object();
    struct json_object *snapshots = json_object_new_array();

    for (size_t i = 0; i < found->count; i++) {
        const struct pool_file *file = &found->files[i];
        struct json_object *object;

        if (!is_of(file->name, volume)) {
            continue;
        }
        object = json_object_new_object();
        add_text(object, "name", file->name);
        add_number(object, "size", file->size);
        if (file->allocated != POOL_UNKNOWN) {
            add_number(object, "allocated", file->allocated);
        }
        add_number(object, "taken", file->changed / 1000000000);
        json_object_array_add(snapshots, object);
    }
    json_object_array_sort(snapshots, by_name);
    json_object_object_add(reply, "snapshots", snapshots);
    return reply;
}

static void add_operation(void *opaque, const struct job *job, uint64_t age)
{
    struct json_object *object = json_object_new_object();

    add_text(object, "what", job->what);
    add_text(object, "name", job->volume);
    add_number(object, "milliseconds", age / RDISK_MSEC);
    json_object_array_add(opaque, object);
}

/* What waits for storage. */
static struct json_object *stat_operations(struct server *server)
{
    struct json_object *operations = json_object_new_array();

    if (server->jobs) {
        jobs_for_each(server->jobs, add_operation, operations);
    }
    return operations;
}

/* ---- Sessions and reactors -------------------------------------------- */

static void add_slots(struct json_object *object, const struct session *session)
{
    struct rdisk_target_slot_counters slots = { 0 };

    session_slots(session, &slots);
    add_number(object, "slots", slots.slots);
    add_number(object, "slots_wanted", slots.wanted);
    add_number(object, "slot_waits", slots.waits);
    add_number(object, "slot_grants", slots.grants);
    add_number(object, "slot_recalls", slots.recalls);
    add_number(object, "slot_returns", slots.returns);
}

static struct json_object *stat_session(const struct session *session)
{
    const struct volume_holder *holder = &session->holder;
    struct json_object *object = json_object_new_object();
    struct rdisk_target_counters counters = { 0 };
    uint64_t memory;

    add_number(object, "session", session->serial);
    add_text(object, "peer", holder->peer);
    add_text(object, "volume", holder->volume->name);
    add_text(object, "user", holder->user);
    add_client(object, holder->client);
    add_number(object, "epoch", holder->epoch);
    add_number(object, "generation", holder->generation);
    add_bool(object, "read_only", session->read_only);
    add_bool(object, "shared", holder->shared);
    add_bool(object, "fenced", holder->fenced);
    add_number(object, "queues", session_queues(session, &memory));
    add_slots(object, session);
    add_number(object, "memory", memory);
    session_counters(session, &counters);
    add_counters(object, &counters);
    return object;
}

static struct json_object *stat_worker(const struct worker *worker)
{
    struct json_object *object = json_object_new_object();
    struct reactor_info info;

    reactor_info(worker->reactor, &info);
    add_number(object, "index", info.index);
    add_number(object, "core", info.core);
    add_number(object, "node", info.node);
    add_number(object, "queues", worker->queues);
    add_number(object, "turns", info.turns);
    add_number(object, "completions", info.completions);
    add_number(object, "spins", info.spins);
    add_number(object, "polled", info.polled);
    add_number(object, "idle", info.idle);
    add_number(object, "cpu", info.cpu);
    return object;
}

/* Use against limit; a limit of 0 is none. */
static struct json_object *stat_clients(const struct server *server)
{
    struct json_object *clients = json_object_new_array();
    const struct access_client *client = server->config->clients;

    if (server->config->authentication == ACCESS_METHOD_OPEN) {
        return clients;
    }
    for (; client; client = client->next) {
        struct json_object *object = json_object_new_object();
        struct rdisk_quota use = { 0 };

        if (server->target) {
            rdisk_target_use(server->target, client->name, &use);
        }
        add_text(object, "name", client->name);
        add_number(object, "sessions", use.sessions);
        add_number(object, "max_sessions", client->max_sessions);
        add_number(object, "memory", use.memory);
        add_number(object, "max_memory", client->max_memory);
        json_object_object_add(object, "throttle",
                               stat_throttle(server, true, client->name));
        json_object_array_add(clients, object);
    }
    return clients;
}

/* Sessions since the start, and why they have ended. */
static struct json_object *stat_totals(const struct server *server)
{
    struct json_object *object = json_object_new_object();
    const struct server_totals *totals = &server->totals;
    struct rdisk_target_totals faults = { 0 };

    if (server->target) {
        faults = *rdisk_target_totals(server->target);
    }
    add_number(object, "opened", totals->opened);
    add_number(object, "reconnected", totals->reconnected);
    add_number(object, "refused", totals->refused);
    add_number(object, "closed", totals->closed);
    add_number(object, "ended", totals->ended);
    add_number(object, "lost", totals->lost);
    add_number(object, "violations", faults.violations);
    add_number(object, "broken_queues", faults.broken_queues);
    add_number(object, "device_removals", faults.device_removals);
    add_number(object, "slot_waits", faults.slots.waits);
    add_number(object, "slot_grants", faults.slots.grants);
    add_number(object, "slot_recalls", faults.slots.recalls);
    add_number(object, "slot_returns", faults.slots.returns);
    return object;
}

/* CPU time, ns, and memory, bytes, of the whole process. */
static struct json_object *stat_process(void)
{
    struct json_object *object = json_object_new_object();
    struct timespec cpu = { 0 };
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file) {
        if (fscanf(file, "%*u %llu", &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    add_number(object, "cpu", cpu.tv_sec * 1000000000ll + cpu.tv_nsec);
    add_number(object, "resident_memory", pages * sysconf(_SC_PAGESIZE));
    return object;
}

struct json_object *stat_server(struct server *server,
                                const struct pool_listing *found)
{
    struct json_object *object, *reactors, *sessions;
    uint64_t memory = 0;
    char address[128];

    object = json_object_new_object();
    reactors = json_object_new_array();
    sessions = json_object_new_array();
    for (unsigned int i = 0; i < server->placement.cores; i++) {
        json_object_array_add(reactors, stat_worker(&server->workers[i]));
    }
    for (struct session *session = server->sessions; session;
         session = session->next) {
        uint64_t bytes;

        json_object_array_add(sessions, stat_session(session));
        session_queues(session, &bytes);
        memory += bytes;
    }
    add_text(object, "version", RDISK_VERSION);
    add_text(object, "state",
             server->stopping    ? "stopping"
             : server->drain.all ? "drained"
                                 : "serving");
    add_number(object, "uptime",
               (rdisk_now(server->env) - server->started) / 1000000000);
    add_text(object, "address",
             server_address(server, address, sizeof(address)));
    add_text(object, "device", server->placement.device);
    add_number(object, "node", server->placement.node);
    add_number(object, "memory", memory);
    add_number(object, "max_memory", server->config->max_memory);
    json_object_object_add(object, "reactors", reactors);
    json_object_object_add(object, "sessions", sessions);
    json_object_object_add(object, "clients", stat_clients(server));
    json_object_object_add(object, "volumes", stat_volumes(server, found));
    add_pool(object, server, found);
    json_object_object_add(object, "totals", stat_totals(server));
    json_object_object_add(object, "process", stat_process());
    json_object_object_add(object, "operations", stat_operations(server));
    return object;
}
