/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the server share. start.c creates it, run.c serves and ends
 * it; the rest uses it, and nothing of those two. Control thread.
 */
#ifndef RDISK_SERVER_SERVER_H
#define RDISK_SERVER_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/loop.h"
#include "server/config/config.h"
#include "server/io/jobs.h"
#include "server/io/mailbox.h"
#include "server/io/placement.h"
#include "server/session/store_watch.h"
#include "server/volume/drain.h"
#include "server/volume/operation.h"
#include "server/volume/pool.h"
#include <rdisk/target.h>

struct barrier;
struct client_list;
struct command_line;
struct control;
struct copy;
struct flatten;
struct listing;
struct metrics_server;
struct reload;
struct session;
struct throttled;
struct worker;

/* Sessions since the start. */
struct server_totals {
    uint64_t opened;      /* granted */
    uint64_t reconnected; /* of these, by a client that had the volume */
    uint64_t refused;
    uint64_t closed; /* by their clients */
    uint64_t ended;  /* by this server: drained, fenced by an administrator,
                        or their access was withdrawn */
    uint64_t lost;   /* ended otherwise: the client may reconnect */
};

struct server {
    struct config *config;           /* main()'s; reload.c changes it */
    const struct command_line *line; /* to be read again; main()'s */
    const struct rdisk_env *env;
    struct placement placement;
    struct loop loop;
    struct mailbox mailbox;       /* of the control thread */
    struct jobs *jobs;            /* what may wait for storage */
    struct operations operations; /* on volumes */
    struct backend_ceph ceph;     /* where images of its volumes are */
    char identity[2][256];        /* what it has of this server and process */
    struct pool pool;
    struct drain drain;     /* what takes no new sessions */
    struct records records; /* of its leases */
    struct worker *workers; /* placement.cores of them */
    struct rdisk_target *target;
    struct listing *listing;        /* of its volumes, for administrators */
    struct client_list *lists;      /* for clients; the first is being read */
    struct control *control;        /* NULL: no socket */
    struct metrics_server *metrics; /* NULL: none over HTTP */
    struct session *sessions;       /* that are open */
    struct barrier *barriers;       /* that hold requests */
    struct copy *copies;            /* of volumes */
    struct flatten *flattens;       /* clones that get what they share */
    struct throttled *throttled;    /* volumes and clients that are open */
    struct store_watch store_watch; /* of the pool, if others share it */
    uint64_t lockable;   /* bytes of memory; UINT64_MAX: any number */
    uint64_t registered; /* of resident volumes, for sessions */
    uint64_t serials;    /* OPENs received so far */
    struct server_totals totals;

    uint64_t started;      /* rdisk_now() */
    unsigned int volumes;  /* that there were then */
    struct reload *reload; /* that is running; NULL: none */
    bool reload_wanted;    /* a SIGHUP came that has no reload yet */
    bool running;          /* server_run() has begun */
    bool stopping;
    uint64_t stop_deadline; /* rdisk_now() */

    struct loop_source target_source;
    struct loop_source mailbox_source;
    struct loop_source signal_source;
    int signal_fd;
};

/* Notify systemd that it serves, and what. */
void server_notify_ready(const struct server *server);

/* "10.9.0.1:7471", "[fe80::1]:7471", "*:7471"; returns @text. */
char *server_address(const struct server *server, char *text, size_t size);

#endif
