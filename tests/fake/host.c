/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hosts: an address, a device, and a table of verbs each.
 *
 * Of all verbs only create_event_channel() and query_name() have no argument
 * to tell the host by; so each host's table has functions of its own for them.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static pthread_mutex_t slots_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct fake_host *slots[FAKE_HOSTS_MAX];

static struct fake_host *in_slot(unsigned int slot)
{
    struct fake_host *host;

    pthread_mutex_lock(&slots_mutex);
    host = slots[slot];
    pthread_mutex_unlock(&slots_mutex);
    return host;
}

/* clang-format off */
#define EACH_SLOT(X) \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) \
    X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) \
    X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
/* clang-format on */

#define DEFINE_SLOT(n) \
    static struct rdma_event_channel *create_event_channel_##n(void) \
    { \
        return fake_event_channel_new(in_slot(n)); \
    } \
    static struct rdisk_name_query *query_name_##n(const char *name, \
                                                   uint16_t port) \
    { \
        return fake_name_query(in_slot(n), name, port); \
    }
EACH_SLOT(DEFINE_SLOT)

#define NAME_SLOT(n) { create_event_channel_##n, query_name_##n },
static const struct {
    struct rdma_event_channel *(*create_event_channel)(void);
    struct rdisk_name_query *(*query_name)(const char *name, uint16_t port);
} slot_functions[] = { EACH_SLOT(NAME_SLOT) };
_Static_assert(sizeof(slot_functions) / sizeof(slot_functions[0]) ==
                   FAKE_HOSTS_MAX,
               "a function for each slot");

static unsigned int slot_take(struct fake_host *host)
{
    unsigned int slot;

    pthread_mutex_lock(&slots_mutex);
    for (slot = 0; slot < FAKE_HOSTS_MAX && slots[slot]; slot++) {
        /* look on */
    }
    if (slot == FAKE_HOSTS_MAX) {
        fprintf(stderr, "fake device: more than %d hosts\n", FAKE_HOSTS_MAX);
        abort();
    }
    slots[slot] = host;
    pthread_mutex_unlock(&slots_mutex);
    return slot;
}

struct fake_host *fake_host_add(struct fake_fabric *fabric, const char *address)
{
    struct fake_host *host = fake_alloc(sizeof(*host));

    if (inet_pton(AF_INET, address, &host->address) != 1) {
        fprintf(stderr, "fake device: '%s' is no IPv4 address\n", address);
        abort();
    }
    inet_ntop(AF_INET, &host->address, host->text, sizeof(host->text));
    host->fabric = fabric;
    host->limits = (struct fake_limits) {
        .max_qp_wr = 16384,
        .max_sge = 32,
        .max_sge_rd = 32,
        .max_cqe = 65536,
        .max_qp = 4096,
        .max_mr = 4096,
        .max_inline = 512,
        .max_mw = 65536,
        .max_rd_atom = 16,
        .max_mr_size = UINT64_MAX / 2,
        .memlock = UINT64_MAX / 2,
    };
    TAILQ_INIT(&host->pds);
    TAILQ_INIT(&host->cqs);
    TAILQ_INIT(&host->mrs);
    TAILQ_INIT(&host->mws);
    for (unsigned int i = 0; i < FAKE_DEVICES; i++) {
        host->devices[i] = (struct fake_device) {
            .context = {
                .device = &host->device,
                .num_comp_vectors = 4,
                .cmd_fd = -1,
                .async_fd = -1,
            },
            .host = host,
        };
    }
    host->device.node_type = IBV_NODE_CA;
    host->device.transport_type = IBV_TRANSPORT_IB;
    fake_name_verbs(&host->verbs);
    fake_cm_verbs(&host->verbs);
    fake_connection_verbs(&host->verbs);
    fake_memory_verbs(&host->verbs);
    fake_window_verbs(&host->verbs);
    fake_cq_verbs(&host->verbs);
    fake_qp_verbs(&host->verbs);
    host->index = slot_take(host);
    host->verbs.create_event_channel =
        slot_functions[host->index].create_event_channel;
    host->verbs.query_name = slot_functions[host->index].query_name;

    fake_lock(fabric);
    host->random_state = fake_random64(&fabric->random_state);
    snprintf(host->device.name, sizeof(host->device.name), "fake%u",
             fabric->host_count);
    snprintf(host->device.dev_name, sizeof(host->device.dev_name), "uverbs%u",
             fabric->host_count);
    fabric->hosts[fabric->host_count++] = host;
    fake_unlock(fabric);
    return host;
}

void fake_host_release(struct fake_host *host)
{
    pthread_mutex_lock(&slots_mutex);
    slots[host->index] = NULL;
    pthread_mutex_unlock(&slots_mutex);
    free(host);
}

struct fake_host *fake_find_host(struct fake_fabric *fabric,
                                 struct in_addr address)
{
    for (unsigned int i = 0; i < fabric->host_count; i++) {
        if (fabric->hosts[i]->address.s_addr == address.s_addr) {
            return fabric->hosts[i];
        }
    }
    return NULL;
}

const struct rdisk_verbs *fake_host_verbs(struct fake_host *host)
{
    return &host->verbs;
}

const char *fake_host_address(const struct fake_host *host)
{
    return host->text;
}

struct fake_limits *fake_host_limits(struct fake_host *host)
{
    return &host->limits;
}

/* ---- The environment of code that runs on a host ---------------------- */

static uint64_t env_now(void *opaque)
{
    struct fake_host *host = opaque;

    return fake_fabric_now(host->fabric);
}

static void env_random(void *opaque, void *buf, size_t size)
{
    struct fake_host *host = opaque;
    uint8_t *bytes = buf;

    fake_lock(host->fabric);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = fake_random64(&host->random_state);
    }
    pthread_mutex_unlock(&host->fabric->mutex);
}

static void env_log(void *opaque, enum rdisk_log_level level, const char *line)
{
    static const char *const names[] = { "error", "warning", "info", "debug" };
    struct fake_host *host = opaque;

    if (getenv("FAKE_LOG")) {
        uint64_t now = fake_fabric_now(host->fabric);

        fprintf(stderr, "%10.6f %s %s: %s\n", now / 1e9, host->text,
                names[level], line);
    }
}

void fake_host_env(struct fake_host *host, struct rdisk_env *env)
{
    *env = (struct rdisk_env) {
        .verbs = &host->verbs,
        .now = env_now,
        .stopwatch = env_now,
        .random = env_random,
        .log = env_log,
        .opaque = host,
    };
}
