/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the server is to do: from its configuration file, and from the command
 * line, whose options have the same names and win.
 */
#ifndef RDISK_SERVER_CONFIG_CONFIG_H
#define RDISK_SERVER_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "server/config/access.h"
#include "server/config/throttle_section.h"
#include "server/config/volume_section.h"
#include <rdisk/env.h>

/* Sets of options are the bits of an unsigned int. */
#define CONFIG_OPTIONS_MAX 32

#define CONFIG_DEFAULT_CEPH    "/etc/ceph/ceph.conf"
#define CONFIG_DEFAULT_CONTROL "/run/rdiskd/control.sock"

struct config {
    char *listen; /* address; "": any */
    uint64_t port;
    uint64_t cores;     /* reactors; 0: as the machine suggests */
    char *core_list;    /* "0-3,8": exactly these; "": choose */
    uint64_t poll_time; /* microseconds; 0: reactors never spin */
    char *control;      /* path of the socket; "": none */
    char *metrics;      /* address and port of HTTP; "": none */
    enum rdisk_log_level log_level;
    enum access_method authentication;
    struct access_client *clients; /* in the order given */
    uint64_t cq_entries;
    uint64_t max_sessions;
    uint64_t max_queues;          /* per session */
    uint64_t max_slots;           /* per queue */
    uint64_t max_slot_size;       /* bytes */
    uint64_t max_memory;          /* bytes */
    uint64_t handshake_timeout;   /* milliseconds */
    uint64_t max_silence;         /* milliseconds */
    uint64_t stop_timeout;        /* milliseconds */
    uint64_t listen_timeout;      /* milliseconds; 0: not at all */
    uint64_t storage_timeout;     /* milliseconds */
    uint64_t lease_time;          /* milliseconds; 0: not kept */
    char *state;                  /* directory of records; "": a default */
    char *pool;                   /* directory, or Ceph pool; "": none */
    char *pool_backend;           /* "file" or "rbd" */
    bool create;                  /* clients may, without authentication */
    bool resize;                  /* clients may, what they write of the pool */
    enum backend_polling polling; /* of the pool's volumes */
    char *ceph_config;            /* file */
    char *ceph_user;              /* without "client." */
    char *ceph_keyring;           /* file; "": as in the Ceph configuration */
    uint64_t ceph_op_timeout;     /* milliseconds */
    uint64_t ceph_cut_off;        /* the same */
    struct config_volume *volumes;      /* in the order given */
    struct throttle_section *throttles; /* the same: the first one counts */

    unsigned int seen; /* options the file has given, bit by bit */
};

/* Defaults. 0 or -ENOMEM. */
int config_init(struct config *config);
void config_free(struct config *config);

/* Read a file. Each error names the file, the line, the value, and what it
 * may be. */
int config_read(struct config *config, const char *path,
                struct rdisk_error *err);

/* Set an option by its name, as on the command line: --NAME VALUE. */
int config_set(struct config *config, const char *name, const char *value,
               struct rdisk_error *err);
/* What config_adopt() found to be different: options by index, bit by bit. */
struct config_change {
    unsigned int applied; /* options, bit by bit */
    unsigned int pending; /* only a restart of the server applies them */
    bool volumes_pending; /* the same of [volume] sections */
};

/*
 * Take over from @next, which config_check() has accepted, what may change in
 * a server that runs: its clients, access rules, limits and log level. @next
 * gets the older values, and is to be freed. Control thread.
 */
void config_adopt(struct config *config, struct config *next,
                  struct config_change *change);

/* Check that nothing required is missing; to be called last. Warns if
 * clients need no authentication. */
int config_check(const struct config *config, struct rdisk_error *err);

/*
 * Every option that is not a volume's, for the command line and its help.
 * NULL when @index is beyond the last. @help has the range in it.
 */
const char *config_option(unsigned int index, const char **argument,
                          const char **help);

#endif
