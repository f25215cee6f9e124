/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/config/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ini.h"
#include "common/listen_address.h"
#include "common/log.h"
#include "common/number.h"
#include "common/size.h"
#include "common/thread.h"
#include <rdisk/target.h>

enum kind {
    KIND_TEXT,
    KIND_ADDRESS, /* of TCP, as text */
    KIND_NUMBER,
    KIND_SIZE, /* bytes */
    KIND_TIME, /* seconds with decimals, as milliseconds */
    KIND_LEVEL,
    KIND_AUTHENTICATION,
    KIND_POLICY,  /* allow or deny */
    KIND_POLLING, /* auto, on or off */
};

/* When a value that has changed in the file counts. */
enum applied {
    RESTARTS, /* when the server starts again */
    RELOADS,  /* when a server that runs reads the file again */
};

/* All options, each in one row. */
struct option {
    const char *section;
    const char *key;  /* in the file */
    const char *name; /* on the command line */
    const char *argument;
    const char *help;
    enum kind kind;
    size_t offset;     /* in struct config */
    uint64_t min, max; /* of numbers */
    enum applied applied;
};

#define PAGE 4096

static const struct option options[] = {
    { "server", "listen", "listen", "ADDRESS",
      "address of the RDMA device to listen on; default: any", KIND_TEXT,
      offsetof(struct config, listen), 0, 0, RESTARTS },
    { "server", "port", "port", "PORT", "port, 1…65535; default 7471",
      KIND_NUMBER, offsetof(struct config, port), 1, UINT16_MAX, RESTARTS },
    { "server", "cores", "cores", "N",
      "reactor threads, one core each, 1…256; default: 2 if the NIC's NUMA "
      "node has as many",
      KIND_NUMBER, offsetof(struct config, cores), 1, 256, RESTARTS },
    { "server", "core-list", "core-list", "LIST",
      "exactly these cores, e.g. 0-3,8; default: of the NIC's NUMA node",
      KIND_TEXT, offsetof(struct config, core_list), 0, 0, RESTARTS },
    { "server", "poll-time", "poll-time", "MICROSECONDS",
      "a reactor polls for the next request before it sleeps, if requests "
      "arrive that fast, 0…10000; 0: never; default 32",
      KIND_NUMBER, offsetof(struct config, poll_time), 0, 10000, RESTARTS },
    { "server", "control", "control", "PATH",
      "socket for rdisk(1), \"\" for none; default " CONFIG_DEFAULT_CONTROL,
      KIND_TEXT, offsetof(struct config, control), 0, 0, RESTARTS },
    { "server", "metrics", "metrics", "ADDRESS:PORT",
      "serve metrics for Prometheus over HTTP there; default: not at all",
      KIND_ADDRESS, offsetof(struct config, metrics), 0, 0, RESTARTS },
    { "server", "log-level", "log-level", "LEVEL",
      "error, warning, info or debug; default info", KIND_LEVEL,
      offsetof(struct config, log_level), 0, 0, RELOADS },
    { "server", "authentication", "authentication", "hmac|none",
      "hmac: clients with a secret may connect (default if there are any); "
      "none: all may",
      KIND_AUTHENTICATION, offsetof(struct config, authentication), 0, 0,
      RELOADS },
    { "server", "max-sessions", "max-sessions", "N",
      "sessions at a time, 1…65536", KIND_NUMBER,
      offsetof(struct config, max_sessions), 1, 65536, RELOADS },
    { "server", "max-queues", "max-queues", "N", "queues of a session, 1…64",
      KIND_NUMBER, offsetof(struct config, max_queues), 1, RDISK_QUEUES_MAX,
      RELOADS },
    { "server", "max-slots", "max-slots", "N", "slots of a queue, 1…1024",
      KIND_NUMBER, offsetof(struct config, max_slots), 1, RDISK_SLOTS_MAX,
      RELOADS },
    { "server", "max-slot-size", "max-slot-size", "SIZE",
      "largest request, 4k…4M, a multiple of 4k", KIND_SIZE,
      offsetof(struct config, max_slot_size), RDISK_SLOT_SIZE_MIN,
      RDISK_SLOT_SIZE_MAX, RELOADS },
    { "server", "max-memory", "max-memory", "SIZE",
      "slots of all sessions together, 1M…16T", KIND_SIZE,
      offsetof(struct config, max_memory), 1u << 20, 1ull << 44, RELOADS },
    { "server", "cq-entries", "cq-entries", "N",
      "of a completion queue, which the queues of a reactor share, "
      "1024…4194304; default 32768",
      KIND_NUMBER, offsetof(struct config, cq_entries), 1024, 1u << 22,
      RESTARTS },
    { "server", "handshake-timeout", "handshake-timeout", "SECONDS",
      "from connect to open, 0.1…3600", KIND_TIME,
      offsetof(struct config, handshake_timeout), 100, 3600000, RELOADS },
    { "server", "max-silence", "max-silence", "SECONDS",
      "of a client whose device still answers, 1…86400; default 300", KIND_TIME,
      offsetof(struct config, max_silence), 1000, 86400000, RELOADS },
    { "server", "stop-timeout", "stop-timeout", "SECONDS",
      "for requests to finish after SIGTERM, 0.1…3600; default 10", KIND_TIME,
      offsetof(struct config, stop_timeout), 100, 3600000, RELOADS },
    { "server", "listen-timeout", "listen-timeout", "SECONDS",
      "to wait at startup for an RDMA device with the address, 0…3600; default "
      "30",
      KIND_TIME, offsetof(struct config, listen_timeout), 0, 3600000,
      RESTARTS },
    { "server", "storage-timeout", "storage-timeout", "SECONDS",
      "for storage to answer before the client gets an error, 1…3600; default "
      "20",
      KIND_TIME, offsetof(struct config, storage_timeout), 1000, 3600000,
      RELOADS },
    { "server", "lease-time", "lease-time", "SECONDS",
      "that a volume is kept for a writer that lost its connection, 0…3600; "
      "default 0",
      KIND_TIME, offsetof(struct config, lease_time), 0, 3600000, RELOADS },
    { "server", "state", "state", "DIRECTORY",
      "for records of who may write; default: .rdisk in the pool directory",
      KIND_TEXT, offsetof(struct config, state), 0, 0, RESTARTS },
    { "pool", "directory", "pool", "DIRECTORY",
      "whose files are volumes; default: none", KIND_TEXT,
      offsetof(struct config, pool), 0, 0, RESTARTS },
    { "pool", "backend", "pool-backend", "file|rbd",
      "file: the pool is a directory; rbd: a Ceph pool, named by directory as "
      "POOL or POOL/NAMESPACE; default file",
      KIND_TEXT, offsetof(struct config, pool_backend), 0, 0, RESTARTS },
    { "pool", "create", "create", "allow|deny",
      "whether clients may create volumes; only without authentication; "
      "default deny",
      KIND_POLICY, offsetof(struct config, create), 0, 0, RELOADS },
    { "pool", "resize", "resize", "allow|deny",
      "whether clients may resize volumes of it that they may write; default "
      "allow",
      KIND_POLICY, offsetof(struct config, resize), 0, 0, RELOADS },
    { "pool", "io-poll", "io-poll", "auto|on|off",
      "whether reactors poll for completions of its reads and writes, if its "
      "disk has queues without interrupts; default auto",
      KIND_POLLING, offsetof(struct config, polling), 0, 0, RESTARTS },
    { "ceph", "config", "ceph-config", "FILE",
      "Ceph's own configuration, for volumes of backend rbd; "
      "default " CONFIG_DEFAULT_CEPH,
      KIND_TEXT, offsetof(struct config, ceph_config), 0, 0, RESTARTS },
    { "ceph", "user", "ceph-user", "USER",
      "the cluster's name for this server, without \"client.\"; default admin",
      KIND_TEXT, offsetof(struct config, ceph_user), 0, 0, RESTARTS },
    { "ceph", "keyring", "ceph-keyring", "FILE",
      "with the user's key; default: as Ceph's configuration says", KIND_TEXT,
      offsetof(struct config, ceph_keyring), 0, 0, RESTARTS },
    { "ceph", "op-timeout", "ceph-op-timeout", "SECONDS",
      "for the cluster to answer a request before it fails, 1…86400; default "
      "180",
      KIND_TIME, offsetof(struct config, ceph_op_timeout), 1000, 86400000,
      RESTARTS },
    { "ceph", "cut-off-time", "ceph-cut-off-time", "SECONDS",
      "without an answer of the cluster, after which clients are sent to "
      "their next server, 0.5…3600; default 2",
      KIND_TIME, offsetof(struct config, ceph_cut_off), 500, 3600000, RELOADS },
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))

static_assert(OPTIONS <= CONFIG_OPTIONS_MAX, "each option has its bit");

/* ---- Values ----------------------------------------------------------- */

static int out_of_range(const struct option *option, const char *value,
                        int result, struct rdisk_error *err)
{
    static const char *const what[] = {
        [KIND_NUMBER] = "a number",
        [KIND_SIZE] = "a size",
        [KIND_TIME] = "a time",
    };

    if (result == -EINVAL) {
        return rdisk_error_set(err, -EINVAL, "%s = %s is not %s (%s)",
                               option->key, value, what[option->kind],
                               option->help);
    }
    return rdisk_error_set(err, -EINVAL, "%s = %s is out of range (%s)",
                           option->key, value, option->help);
}

static int set_number(struct config *config, const struct option *option,
                      const char *value, struct rdisk_error *err)
{
    uint64_t *where = (uint64_t *)((char *)config + option->offset);
    uint64_t number;
    int result;

    result = option->kind == KIND_SIZE   ? size_parse(value, &number)
             : option->kind == KIND_TIME ? number_parse_time(value, &number)
                                         : number_parse(value, 10, &number);
    if (result == 0 && (number < option->min || number > option->max ||
                        (where == &config->max_slot_size && number % PAGE))) {
        result = -ERANGE;
    }
    if (result < 0) {
        return out_of_range(option, value, result, err);
    }
    *where = number;
    return 0;
}

static int set_text(char **where, const char *value, struct rdisk_error *err)
{
    char *copy = strdup(value);

    if (!copy) {
        return rdisk_error_set(err, -ENOMEM, "no memory for '%s'", value);
    }
    free(*where);
    *where = copy;
    return 0;
}

static int set_address(char **where, const struct option *option,
                       const char *value, struct rdisk_error *err)
{
    struct listen_address address;

    return listen_address_parse(value, &address, err) < 0
               ? rdisk_error_prefix(err, "%s", option->key)
               : set_text(where, value, err);
}

static int set_option(struct config *config, const struct option *option,
                      const char *value, struct rdisk_error *err)
{
    switch (option->kind) {
    case KIND_TEXT:
        return set_text((char **)((char *)config + option->offset), value, err);
    case KIND_ADDRESS:
        return set_address((char **)((char *)config + option->offset), option,
                           value, err);
    case KIND_LEVEL:
        if (log_level_parse(value, &config->log_level) < 0) {
            return rdisk_error_set(err, -EINVAL,
                                   "%s = %s is not a log level (%s)",
                                   option->key, value, option->help);
        }
        return 0;
    case KIND_AUTHENTICATION:
        return access_method(&config->authentication, value, err);
    case KIND_POLICY:
        return access_policy((bool *)((char *)config + option->offset),
                             option->key, value, err);
    case KIND_POLLING:
        return backend_parse_polling((enum backend_polling *)((char *)config +
                                                              option->offset),
                                     "the pool", value, err);
    default:
        return set_number(config, option, value, err);
    }
}

/* ---- The file --------------------------------------------------------- */

static bool section_known(const char *section)
{
    return strcmp(section, "server") == 0 || strcmp(section, "pool") == 0 ||
           strcmp(section, "ceph") == 0;
}

/* NAME of section "@kind NAME", or NULL. @kind ends with a blank. */
static const char *section_name(const char *section, const char *kind)
{
    size_t length = strlen(kind);

    return strncmp(section, kind, length) == 0
               ? section + length + strspn(section + length, " \t")
               : NULL;
}

static int read_section(void *opaque, const char *section,
                        struct rdisk_error *err)
{
    struct config *config = opaque;
    const char *volume = section_name(section, "volume ");
    const char *client = section_name(section, "client ");
    const char *throttle = section_name(section, "throttle ");

    if (volume) {
        return config_volume_add(&config->volumes, volume, err) ? 0 : -EINVAL;
    }
    if (client) {
        return access_add(&config->clients, client, err) ? 0 : -EINVAL;
    }
    if (throttle) {
        return throttle_section_add(&config->throttles, throttle, err)
                   ? 0
                   : -EINVAL;
    }
    if (section_known(section)) {
        return 0;
    }
    return rdisk_error_set(err, -EINVAL,
                           "there is no section [%s], only [server], [pool], "
                           "[ceph], [volume NAME], [client NAME] and "
                           "[throttle PATTERN]",
                           section);
}

static int read_key(void *opaque, const char *section, const char *key,
                    const char *value, struct rdisk_error *err)
{
    struct config *config = opaque;
    const char *name = section_name(section, "volume ");

    if (name) {
        struct config_volume *volume = config_volume_add(&config->volumes, name,
                                                         err);

        return volume ? config_volume_set(volume, key, value, err) : -EINVAL;
    }
    name = section_name(section, "client ");
    if (name) {
        struct access_client *client = access_add(&config->clients, name, err);

        return client ? access_set(client, key, value, err) : -EINVAL;
    }
    name = section_name(section, "throttle ");
    if (name) {
        struct throttle_section *throttle =
            throttle_section_add(&config->throttles, name, err);

        return throttle ? throttle_section_set(throttle, key, value, err)
                        : -EINVAL;
    }
    for (size_t i = 0; i < OPTIONS; i++) {
        if (strcmp(options[i].section, section) == 0 &&
            strcmp(options[i].key, key) == 0) {
            if (config->seen & 1u << i) {
                return rdisk_error_set(err, -EINVAL, "%s is given twice", key);
            }
            config->seen |= 1u << i;
            return set_option(config, &options[i], value, err);
        }
    }
    return rdisk_error_set(err, -EINVAL,
                           section[0] ? "section [%s] has no "
                                        "key '%s' (see rdiskd.conf(5))"
                                      : "%s'%s' comes "
                                        "before any [section]",
                           section, key);
}

int config_read(struct config *config, const char *path,
                struct rdisk_error *err)
{
    static const struct ini_handler handler = {
        .section = read_section,
        .key = read_key,
    };

    return ini_read(path, &handler, config, err);
}

/* ---- Reading it again -------------------------------------------------- */

static size_t size_of(enum kind kind)
{
    switch (kind) {
    case KIND_LEVEL:
        return sizeof(enum rdisk_log_level);
    case KIND_AUTHENTICATION:
        return sizeof(enum access_method);
    case KIND_POLICY:
        return sizeof(bool);
    case KIND_POLLING:
        return sizeof(enum backend_polling);
    case KIND_TEXT:
    case KIND_ADDRESS:
        return sizeof(char *);
    default:
        return sizeof(uint64_t);
    }
}

static void swap_values(void *a, void *b, size_t size)
{
    char value[sizeof(uint64_t)];

    memcpy(value, a, size);
    memcpy(a, b, size);
    memcpy(b, value, size);
}

static bool same_value(const struct option *option, const void *a,
                       const void *b)
{
    return option->kind == KIND_TEXT || option->kind == KIND_ADDRESS
               ? strcmp(*(char *const *)a, *(char *const *)b) == 0
               : memcmp(a, b, size_of(option->kind)) == 0;
}

void config_adopt(struct config *config, struct config *next,
                  struct config_change *change)
{
    struct access_client *clients = config->clients;
    struct throttle_section *throttles = config->throttles;

    assert_control_thread();
    *change = (struct config_change) {
        .volumes_pending = !config_volumes_same(config->volumes, next->volumes),
    };
    for (size_t i = 0; i < OPTIONS; i++) {
        void *to = (char *)config + options[i].offset;
        void *from = (char *)next + options[i].offset;

        if (same_value(&options[i], to, from)) {
            continue;
        }
        if (options[i].applied == RELOADS) {
            swap_values(to, from, size_of(options[i].kind));
            change->applied |= 1u << i;
        } else {
            change->pending |= 1u << i;
        }
    }
    config->clients = next->clients;
    next->clients = clients;
    config->throttles = next->throttles;
    next->throttles = throttles;
}

/* ---- All of it -------------------------------------------------------- */

int config_init(struct config *config)
{
    struct rdisk_target_options target;

    rdisk_target_options_init(&target);
    *config = (struct config) {
        .listen = strdup(""),
        .port = RDISK_DEFAULT_PORT,
        .core_list = strdup(""),
        .poll_time = 32,
        .control = strdup(CONFIG_DEFAULT_CONTROL),
        .log_level = RDISK_LOG_INFO,
        .cq_entries = 32768,
        .max_sessions = target.max_sessions,
        .max_queues = target.max_queues,
        .max_slots = target.max_slots,
        .max_slot_size = target.max_slot_size,
        .max_memory = target.max_memory,
        .handshake_timeout = target.handshake_timeout_ms,
        .max_silence = target.max_silence_ms,
        .stop_timeout = 10000,
        .listen_timeout = 30000,
        .storage_timeout = 20000,
        .metrics = strdup(""),
        .state = strdup(""),
        .pool = strdup(""),
        .pool_backend = strdup("file"),
        .resize = true,
        .ceph_config = strdup(CONFIG_DEFAULT_CEPH),
        .ceph_user = strdup("admin"),
        .ceph_keyring = strdup(""),
        .ceph_op_timeout = 180000,
        .ceph_cut_off = 2000,
    };
    if (!config->listen || !config->core_list || !config->control ||
        !config->metrics || !config->state || !config->pool ||
        !config->pool_backend || !config->ceph_config || !config->ceph_user ||
        !config->ceph_keyring) {
        config_free(config);
        return -ENOMEM;
    }
    return 0;
}

void config_free(struct config *config)
{
    free(config->listen);
    free(config->core_list);
    free(config->control);
    free(config->metrics);
    free(config->state);
    free(config->pool);
    free(config->pool_backend);
    free(config->ceph_config);
    free(config->ceph_user);
    free(config->ceph_keyring);
    access_free(config->clients);
    config_volume_free(config->volumes);
    throttle_sections_free(config->throttles);
    memset(config, 0, sizeof(*config));
}

int config_set(struct config *config, const char *name, const char *value,
               struct rdisk_error *err)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        if (strcmp(options[i].name, name) == 0) {
            int result = set_option(config, &options[i], value, err);

            return result < 0 ? rdisk_error_prefix(err, "--%s", name) : 0;
        }
    }
    return rdisk_error_set(err, -EINVAL, "unknown option --%s", name);
}

int config_check(const struct config *config, struct rdisk_error *err)
{
    for (const struct config_volume *volume = config->volumes; volume;
         volume = volume->next) {
        if (!volume->backend) {
            return rdisk_error_set(err, -EINVAL,
                                   "volume '%s' needs backend=, "
                                   "one of: %s",
                                   volume->name, backend_names());
        }
    }
    if (strcmp(config->pool_backend, "file") != 0 &&
        strcmp(config->pool_backend, "rbd") != 0) {
        return rdisk_error_set(err, -EINVAL,
                               "backend = %s of the pool is neither file nor "
                               "rbd",
                               config->pool_backend);
    }
    if (!config->pool[0] && !config->volumes) {
        return rdisk_error_set(err, -EINVAL,
                               "there is nothing to serve: name "
                               "a pool directory (directory= in [pool], or "
                               "--pool) or a volume ([volume NAME], or "
                               "--volume)");
    }
    if (throttle_sections_check(config->throttles, err) < 0) {
        return -EINVAL;
    }
    return access_check(config->clients, config->authentication, err);
}

const char *config_option(unsigned int index, const char **argument,
                          const char **help)
{
    if (index >= OPTIONS) {
        return NULL;
    }
    *argument = options[index].argument;
    *help = options[index].help;
    return options[index].name;
}
