/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two servers, a store that both have, and clients of them, in one thread: what
 * rdiskd decides (server/session, server/volume) is the real thing, storage and
 * network are played, a step at a time, in an order that a seed determines.
 *
 * The store is as a Ceph cluster: each OSD has an epoch of the cluster's map,
 * and refuses the requests of a connection that the map of its epoch has on the
 * blocklist. A request carries the epoch of its sender, and takes the OSD to
 * it; an OSD that gets none stays behind for a while.
 */
#ifndef RDISK_GATEWAYS_H
#define RDISK_GATEWAYS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/backends/backend.h"
#include "server/server.h"
#include "server/session/session.h"
#include "transport/target/session.h"

#define BLOCKS    6u
#define SERVERS   2u
#define LINKS_MAX 16u /* connections of clients, at a time */

enum mutation {
    MUTATE_NOTHING,
    MUTATE_OTHER_CLIENT, /* the lock is broken by a connection that does not
                            write: that one waits for the map */
    MUTATE_NO_WAIT,      /* the map is not waited for */
    MUTATE_NO_BLOCKLIST, /* the lock is broken, and nobody fenced */
    MUTATE_ANSWER,       /* a server that was fenced goes on answering */
    MUTATE_NOT_SWAPPED,  /* the record is not replaced */
    MUTATE_LEFT_EARLY,   /* a client that is handed over leaves requests behind
                            that are still carried out */
    MUTATE_COUNT,
};

/* ---- The store: store.c ------------------------------------------------- */

struct process;

/* A connection to the cluster. */
struct connection {
    struct process *process;
    uint64_t epoch;  /* of its map */
    uint64_t listed; /* of the map that has it on the blocklist; 0: none */
};

/* An open image. */
struct image {
    struct backend base;
    struct connection *connection;
    struct process *process;
};

/* One request of an image, on its way to an OSD or back. */
struct store_op {
    struct image *image; /* NULL: free */
    struct connection *connection;
    struct request *request; /* NULL: its process was killed */
    uint64_t epoch;
    unsigned int block;
    unsigned int delay; /* times that others overtake it */
    bool write, replied;
    uint32_t value;
    int result;
};

extern const struct backend_class store_class;

void store_begin(void);
void store_end(void);
/* One of the things that may happen there does. */
void store_step(void);
void store_submit(struct image *image, struct request *request);
/* Its requests go on, its replies are not received. */
void store_killed(struct process *process);
/* The connection that has the lock is put on the blocklist by hand. */
void store_blocklist_writer(void);
/* All requests have been carried out. */
bool store_idle(void);

/* ---- The servers: process.c --------------------------------------------- */

struct request {
    struct link *link; /* NULL: free */
    bool taken;        /* the store has it; else the server has received it */
    unsigned int block;
    bool write;
    uint32_t value;
};

/* A client's connection to a server, and the session there. */
struct link {
    struct process *process; /* NULL: free */
    struct rdisk_target_session session;
    struct rdisk_open_request open;
    void *user;      /* the server's session; NULL: none */
    bool granted;    /* there */
    bool reported;   /* the client has the answer */
    bool current;    /* the client has not given it up */
    bool broken;     /* nothing is answered */
    bool leaving;    /* it is handed over: what was received is answered */
    unsigned int to; /* the server that the client was told to go on at */
    uint64_t generation;
    struct request requests[BLOCKS];
};

struct process {
    struct server server;
    bool up, stopped;
    bool busy; /* its control thread is in the store */
};

extern struct process processes[SERVERS];
extern struct link links[LINKS_MAX];
/* Whose control thread runs. */
extern struct process *running;

void processes_begin(void);
void processes_end(void);
void process_step(struct process *process);
void process_kill(struct process *process);
/* rdisk drain --to: another one; and rdisk resume. */
void process_drain(struct process *process);
void process_resume(struct process *process);
void process_start(struct process *process);
/* Of the store: @request is done. */
void process_done(struct request *request, int result, uint32_t value);

/* ---- The clients: client.c ---------------------------------------------- */

void client_begin(void);
void client_step(void);
/* The server refuses, or grants. */
void client_answered(struct link *link, enum rdisk_status status);
void client_completed(struct request *request, int result, uint32_t value);
void client_lost(struct link *link);
/* The server hands it over, to link->to. */
void client_leaves(struct link *link);
/* Read everything, once. */
void client_finish(void);
bool client_finished(void);

/* ---- The whole: main.c -------------------------------------------------- */

extern enum mutation mutation;
extern bool verbose;

/* One of 0…@bound - 1. */
unsigned int pick(unsigned int bound);
/* Everybody else goes on, while @running waits for the store. */
void world_wait(void);
/* What must not be: the schedule ends. */
void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
