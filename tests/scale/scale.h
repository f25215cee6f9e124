/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many sessions in one world: the real client sessions and the real transport
 * target on the fake fabric, in one thread and virtual time, in which the
 * server's calls of verbs take time. docs/simulator.md has what it shows.
 *
 *   world.c     the loop: who is served when, and how time passes
 *   server.c    the server, its owner, and what its calls cost
 *   client.c    the sessions
 *   phases.c    what happens, and what is held against it
 *   mutation.c  what is broken on purpose, to see that it is found
 *   main.c      the command line
 */
#ifndef SCALE_H
#define SCALE_H

#include "tests/fake/fake.h"
#include "transport/target/session.h"
#include <rdisk/initiator.h>
#include <rdisk/target.h>

#define SCALE_SESSIONS 2000u /* at most */
#define SCALE_CAME     (4u * SCALE_SESSIONS)
#define SCALE_HOSTS    16u /* of clients */
#define SCALE_QUEUES   4u  /* of a session */
#define SCALE_PORT     7471
#define SCALE_ENTRIES  4000u /* of a completion queue of the server */

/* X(id, name, what is broken) */
#define SCALE_MUTATIONS(X) \
    X(NO_RETRY, "no-retry", "a refusal for lack of room ends the session") \
    X(NO_JITTER, "no-jitter", "the pauses between attempts are all the same") \
    X(LIFO, "lifo", "who came last is served first") \
    X(OWN_DELAY, "own-delay", \
      "the handshake timeout counts the time of the server, too") \
    X(NO_LIMIT, "no-limit", "the server's memory has no limit")

enum scale_mutation {
    SCALE_INTACT,
#define SCALE_MUTATION(id, name, what) SCALE_MUTATE_##id,
    SCALE_MUTATIONS(SCALE_MUTATION)
#undef SCALE_MUTATION
        SCALE_MUTATION_COUNT
};

struct scale;
struct scale_client;

/* Of each queue, in flight while there is load. */
#define SCALE_DEPTH 8u
#define SCALE_BLOCK (16u << 10)

struct scale_request {
    struct rdisk_request request; /* first */
    struct scale_client *client;
    struct rdisk_queue *queue;
};

struct scale_client {
    struct scale *scale;
    struct rdisk_env env; /* its host's */
    struct rdisk_initiator *session;
    enum rdisk_initiator_state state;
    bool watched; /* its queues' descriptors are */
    struct scale_request requests[SCALE_QUEUES * SCALE_DEPTH];
    unsigned int outstanding;
    uint64_t deadline;
};

struct scale_queue {
    struct scale *scale;
    struct rdisk_target_queue *queue;
    struct scale_queue *next_due; /* there is something to do for it */
    bool due, started, idle;
    struct rdisk_target_grant *returned, *retired;
};

struct scale_holder {
    struct scale *scale;
    struct rdisk_target_session *session;
    uint8_t client[16];
    struct scale_holder *next;
};

struct scale_server {
    struct fake_host *host;
    struct rdisk_env fake, env;
    struct rdisk_verbs verbs;
    struct rdisk_target_options options;
    struct rdisk_target *target; /* NULL: it does not run */
    struct rdisk_target_group *group;
    struct scale_queue *due; /* queues */
    struct scale_holder *holders;
    bool dead;
    /* Requests, by the time when they are answered. */
    struct scale_held *held, **held_end;
    uint64_t limit; /* of its memory */
    uint64_t turn;  /* when the one that runs began; a mutation */
    uint64_t most_memory;
    unsigned int dropped; /* handshakes */
    /* Control connections in the order in which they came, and as they opened:
     * the place in that order. */
    const struct rdma_cm_id *came[SCALE_CAME];
    unsigned int opened[SCALE_SESSIONS];
    unsigned int came_count, open_count;
};

struct scale {
    struct fake_fabric *fabric;
    enum scale_mutation mutation;
    bool verbose;
    bool loaded; /* sessions have requests, without end */
    unsigned int count;
    int poll_fd;
    struct fake_host *hosts[SCALE_HOSTS];
    struct scale_server server;
    struct scale_client clients[SCALE_SESSIONS];
    /* When sessions have tried to connect, since the last clearing. */
    uint64_t *attempts;
    unsigned int attempt_count, attempt_room;
};

/* A promise is broken: does not return. */
void scale_fail(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));
uint64_t scale_now(struct scale *scale);
double scale_seconds(uint64_t nanoseconds);

/* world.c: what a descriptor is of. */
enum scale_kind {
    SCALE_NOTHING,
    SCALE_TARGET,
    SCALE_CQ,
    SCALE_SESSION,
    SCALE_CLIENT_QUEUE,
};
void scale_raise_limits(struct fake_host *host);
void scale_watch(struct scale *scale, int fd, enum scale_kind kind, void *what);
/* Let so much time pass, or until @done: true if it is. */
bool scale_advance(struct scale *scale, uint64_t nanoseconds,
                   bool (*done)(const struct scale *scale));

/* server.c */
void scale_server_begin(struct scale *scale);
void scale_server_start(struct scale *scale);
/* Its program dies, and is not started again. */
void scale_server_kill(struct scale *scale);
bool scale_server_life(struct scale *scale);
void scale_server_process(struct scale *scale);
/* When a request is to be answered. */
uint64_t scale_server_due(const struct scale *scale);
/* Jain's index of the memory that sessions have: 1 if all have the same. */
double scale_server_fairness(const struct scale *scale);

/* client.c */
void scale_client_start(struct scale *scale, unsigned int index);
unsigned int scale_clients_in(const struct scale *scale,
                              enum rdisk_initiator_state state);
void scale_client_process(struct scale_client *client);
/* Fill its queues with requests. */
void scale_client_load(struct scale_client *client);
void scale_client_end(struct scale_client *client);

/* phases.c */
void scale_run(struct scale *scale, unsigned int count,
               enum scale_mutation mutation, bool verbose);

/* mutation.c */
const char *scale_mutation_name(enum scale_mutation mutation);
const char *scale_mutation_what(enum scale_mutation mutation);
void scale_mutate_server(struct scale *scale);
/* Before a turn of the server. */
void scale_mutate_turn(struct scale *scale);
void scale_mutate_client(struct scale *scale, struct rdisk_env *env);

#endif
