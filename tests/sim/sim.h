/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulator: real client sessions and the real transport target on a fake
 * fabric, in one thread and virtual time, under a schedule of requests and
 * faults that comes from a seed. docs/simulator.md describes what it proves.
 *
 *   schedule.c   what happens: made from the seed, printed, cut down
 *   fault.c      makes one event happen
 *   world.c      the loop: who is served when, and how time passes
 *   client.c     hosts and sessions
 *   request.c    requests and their buffers
 *   visitor.c    a peer by bare verbs, for the moments that clients miss
 *   visitor_messages.c  what that peer sends
 *   visitor_owner.c  the server's owner's part of that
 *   reader.c     a client of a resident volume, and that volume
 *   ambush.c     what happens to a client in a certain state
 *   map.c        what the volume has where
 *   size.c       the volume grows
 *   owner.c      the server: its sessions, queues, records and life
 *   open.c       who may have the volume, answered later
 *   jobs.c       the server's jobs on storage, in virtual time
 *   turns.c      which request comes to the backend next
 *   backend.c    what it does to the disk
 *   disk.c       a disk with a volatile cache
 *   checker.c    checks the guarantees against what clients read
 *   mutation.c   defects made on purpose, which the checks must find
 *   transitions.c  that each transition of the state machines was taken
 *   main.c       many schedules, and the shortest of one that fails
 */
#ifndef SIM_H
#define SIM_H

#include "server/session/scheduler.h"
#include "server/volume/operation.h"
#include "server/volume/volume.h"
#include "tests/fake/fake.h"
#include "tests/sim/checker.h"
#include "tests/sim/disk.h"
#include "tests/sim/mutation.h"
#include "tests/sim/reader.h"
#include "tests/sim/schedule.h"
#include "transport/target/session.h"
#include <rdisk/initiator.h>
#include <rdisk/target.h>

#define SIM_PORT    7471
#define SIM_HOLDERS 32u
#define SIM_QUEUES  64u
#define SIM_ENTRIES 1200u /* of a completion queue of the server */
#define SIM_OPS     1024u /* at the backend at a time */
#define SIM_PIECES  4u    /* iovecs of a request */
/* A slot beyond the base of a queue. */
#define SIM_SLOT (RDISK_HEADER_AREA + SIM_RUN * SIM_BLOCK)
/* A request's buffer, and a space behind it that must not be written. */
#define SIM_CELL ((SIM_RUN + 1) * SIM_BLOCK)
/* Bytes of all buffers of a client that are registered, or are not: no cell is
 * used twice in a run, so that whatever comes late is seen. */
#define SIM_CELLS ((SIM_EVENTS + SIM_BLOCKS) * SIM_CELL)

struct sim;

/* ---- Clients ---------------------------------------------------------- */

struct sim_request {
    struct rdisk_request request; /* first */
    struct sim_client *client;
    unsigned int serial; /* of the session it went to */
    unsigned int queue;
    unsigned int block, count;
    unsigned int write; /* the checker's number, or 0 */
    uint64_t submitted; /* the checker's clock */
    uint8_t *buffer;    /* its cell */
    struct iovec iov[SIM_PIECES];
    struct rdisk_extent extents[SIM_RUN];
    bool pending;  /* taken, not completed */
    bool given_up; /* reported to the application early: a mutation */
};

/* What is to happen to a client once it is in a certain state. */
struct sim_ambush {
    bool armed;
    enum rdisk_initiator_state state;
    unsigned int act;
    bool again;          /* of a session that was READY before */
    bool provoked;       /* it is on the way there */
    uint64_t restore_at; /* its device, or SIM_NEVER */
    uint64_t until;      /* what happens there takes so long */
};

struct sim_client {
    struct sim *sim;
    unsigned int index;
    struct fake_host *host;
    struct rdisk_env fake;           /* the host's */
    struct rdisk_env env;            /* what the session gets */
    struct rdisk_verbs verbs;        /* the host's, with a mutation */
    struct rdisk_initiator *session; /* NULL: none now */
    unsigned int serial;             /* of the session: 1, 2, … */
    enum rdisk_initiator_state state;
    struct sim_request requests[SIM_EVENTS + SIM_BLOCKS];
    unsigned int request_count;
    unsigned int outstanding;
    uint64_t wanted;   /* by a resize that has not ended; 0: none */
    uint8_t *cells[2]; /* unregistered, registered */
    bool opened;       /* the session was READY once */
    bool register_tried, registered;
    bool removed;    /* its device is */
    bool want_close; /* as soon as nothing is outstanding */
    bool closing;    /* _close() was called: wait for its end */
    bool crashed;    /* its program was killed */
    bool stay_away;  /* do not open another session */
    bool creates;    /* the next session creates a volume */
    struct sim_ambush ambush;
    uint64_t reopen_at;
    uint64_t stalled_until[2]; /* home thread, queues' threads */
};

/* ---- The server -------------------------------------------------------- */

enum sim_holder_phase {
    SIM_HOLDER_FREE,    /* or a visitor's, if there is a session */
    SIM_HOLDER_RUNNING, /* its OPEN is an operation that has not ended */
    SIM_HOLDER_DECIDED, /* for the next call of events->open */
    SIM_HOLDER_OPEN,
    SIM_HOLDER_CLOSING, /* the session has ended, the operation runs */
};

/* A session of the server's; its steps are those of server/session/open.c and
 * close.c. */
struct sim_holder {
    struct volume_holder holder; /* first */
    struct sim *sim;
    struct rdisk_target_session *session; /* NULL: it has no volume */
    struct rdisk_target_session *asked;   /* until it is closed */
    struct rdisk_open_request request;
    enum sim_holder_phase phase;
    struct operation operation;
    enum rdisk_status status; /* DECIDED */
    struct rdisk_error why;
    struct lease lease; /* the volume's, for a job */
    struct lease_record record;
    int result; /* of a job */
    bool asking, dead, orderly, settle;
    unsigned int client, serial;
    bool visitor; /* not one of the clients */
    bool reader;  /* the same */
    bool waiting; /* for an answer that is put off */
    struct flow_terms terms;
    bool releasing; /* its CLOSE is not answered; @asked is NULL if there
                            is no client for that any more */
};

struct sim_queue {
    struct sim *sim;
    struct rdisk_target_queue *queue; /* NULL: free */
    struct sim_holder *holder;
    struct flow *flow;
    bool started, idle;
    bool answers;          /* to be sent at the end of the turn */
    bool gone;             /* with its device: its descriptor stays readable */
    unsigned int removals; /* of the server's device, when it started */
    uint64_t release_at;   /* after idle */
    void *memory;          /* the slots of its base */
    size_t length;
    struct rdisk_target_grant *returned; /* on their way to the reactor */
    struct rdisk_target_grant *retired;  /* and back */
};

/* A request until it is answered. */
struct sim_turn {
    struct flow_request flow;
    struct sim_queue *queue;
    struct rdisk_target_request *request; /* NULL: free */
};

struct sim_turns {
    struct scheduler scheduler;
    struct throttle throttle; /* of the volume */
    struct sim_turn list[SIM_OPS];
    uint64_t wake_at;
};

struct sim_op {
    struct sim_turn *turn;                /* NULL: nothing waits for its end */
    struct rdisk_target_request *request; /* NULL: answered early */
    struct sim_queue *queue;
    unsigned int client, serial;
    enum rdisk_op op;
    unsigned int flags, block, count;
    uint64_t words[SIM_RUN]; /* of an early answered write */
    uint64_t due;
};

struct sim_server {
    struct fake_host *host;
    struct rdisk_env fake;
    struct rdisk_env env;
    struct rdisk_verbs verbs;
    struct rdisk_target_options options;
    struct rdisk_target *target;      /* NULL: not running */
    struct rdisk_target_group *group; /* all its queues */
    bool dead;                        /* killed; its objects are taken down */
    bool stopping;                    /* or stopping */
    bool removed;                     /* its device is */
    unsigned int removals;            /* of it, so far */
    bool drained;                     /* it takes no new sessions for now */
    bool want_start;
    uint64_t start_at;
    uint64_t stalled_until;
    struct volume volume;
    /*
     * Two programs take turns, and each has the state in memory that it had
     * when its last turn ended, unless the power has failed since.
     */
    struct lease lease;    /* of the one that runs */
    struct lease known[2]; /* without a name: none */
    unsigned int turn;
    struct lease_store store;
    struct lease_record record; /* on stable storage */
    struct operations operations;
    struct sim_holder holders[SIM_HOLDERS];
    struct sim_queue queues[SIM_QUEUES];
    struct sim_turns turns;
    struct sim_op ops[SIM_OPS];
    unsigned int op_count;
    uint64_t slowest;         /* ns that a request may take */
    unsigned int errors;      /* one request in so many fails; 0: none */
    uint8_t cache;            /* one more at each power failure */
    uint64_t old[SIM_BLOCKS]; /* what mutations remember of a block */
};

/* ---- A visitor ---------------------------------------------------------- */

/* Volumes that are there for it only: granted at once, later, never. */
#define SIM_VISITOR_VOLUME "guest"
#define SIM_VISITOR_LATER  "later"
#define SIM_VISITOR_NONE   "none"
#define SIM_VISITOR_LAST   "zz" /* of the volumes that are listed */

#define SIM_VISITOR_ADDRESS "10.0.0.200"

struct sim_visitor {
    struct sim *sim;
    struct fake_host *host;
    struct rdisk_env env;
    struct rdma_event_channel *channel; /* NULL: there is none now */
    struct rdma_cm_id *id, *data;
    struct ibv_pd *pd;
    struct rdisk_control control;
    struct rdisk_qp qp; /* of data */
    struct rdisk_qp_counters counters;
    struct ibv_mr *mr; /* of a block to write */
    struct rdisk_auth auth;
    struct rdisk_wire_open_reply granted;
    struct rdisk_wire_accept lease; /* of data */
    unsigned int goal;              /* enum rdisk_target_state */
    unsigned int act, how;
    char listed[RDISK_VOLUME_NAME_MAX + 1]; /* the last volume */
    uint64_t act_at, leave_at;
    struct sim_holder *holder; /* its session at the server's owner */
};

/* ---- The world --------------------------------------------------------- */

struct sim {
    const struct sim_schedule *schedule;
    enum sim_mutation mutation;
    bool verbose;
    uint64_t random_state;
    uint64_t feature_state; /* the same, of sim_withheld() only */
    uint64_t limit_state;   /* and of limits */
    struct fake_fabric *fabric;
    struct sim_server server;
    struct sim_client clients[SIM_CLIENTS];
    struct sim_visitor visitor;
    struct sim_reader reader;
    struct sim_disk disk;
    uint64_t size; /* of the volume, bytes */
    struct sim_checker checker;
};

/* Run a schedule to its end, in a process of its own: a violation ends it. */
void sim_run(struct sim *sim, const struct sim_schedule *schedule,
             enum sim_mutation mutation, bool verbose);

/* The promise that is broken, in one sentence; does not return. main.c */
void sim_violation(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));
/* A line of the event log, if that is written. */
void sim_log(struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A number below @bound, of the run's own generator. */
uint64_t sim_random(struct sim *sim, uint64_t bound);
uint64_t sim_now(struct sim *sim);

/* world.c */
/* Deliver up to @steps things, serving all programs in between. */
void sim_steps(struct sim *sim, unsigned int steps);
/* Serve all programs until nothing moves. */
void sim_pump(struct sim *sim);
/* Let time pass until @done returns true (NULL: the whole time). */
bool sim_advance(struct sim *sim, uint64_t nanoseconds,
                 bool (*done)(struct sim *sim));
uint64_t sim_least(uint64_t a, uint64_t b);

/* fault.c */
void sim_event(struct sim *sim, const struct sim_event *event);
/* What the resolver has, and after which time. */
enum sim_resolver {
    SIM_RESOLVER_RIGHT,
    SIM_RESOLVER_EMPTY, /* the name does not exist */
    SIM_RESOLVER_WRONG, /* an address that no host has */
    SIM_RESOLVER_COUNT
};
void sim_resolver(struct sim *sim, enum sim_resolver what,
                  unsigned int delay_ms);
#define SIM_HOST "server"
/* Every fault is over. */
void sim_heal(struct sim *sim);
void sim_client_remove(struct sim_client *client, bool flush);
void sim_client_restore(struct sim_client *client);

/* ambush.c */
void sim_ambush_set(struct sim_client *client, unsigned int number);
/* Let it be possible. */
void sim_ambush_suit(unsigned int number, struct sim_config *config);
void sim_ambush_text(unsigned int number, char *text, size_t size);
bool sim_ambush_over(struct sim *sim);
/* True if something was done. */
bool sim_ambush_life(struct sim_client *client);
uint64_t sim_ambush_due(const struct sim_client *client);
void sim_ambush_calm(struct sim_client *client);
/* True if the server lets this queue wait: what is to happen to another one of
 * its session comes first. */
bool sim_ambush_holds(const struct sim_queue *queue);
/* How long to wait for what has not ended. */
uint64_t sim_ambush_left(struct sim *sim);
void sim_ambush_server_verbs(struct rdisk_verbs *verbs);

/* client.c */
void sim_clients_begin(struct sim *sim);
void sim_client_crash(struct sim_client *client, enum fake_death death);
/* Sessions come and go; true if something was done. */
bool sim_client_life(struct sim_client *client);
/* When _life() has to be called at the latest. */
uint64_t sim_client_due(const struct sim_client *client);
bool sim_client_stalled(const struct sim_client *client, unsigned int who);

/* request.c */
void sim_client_submit(struct sim_client *client, enum rdisk_op op,
                       unsigned int block, unsigned int count,
                       unsigned int how);
void sim_client_kick(struct sim_client *client);
/* It has completed with @result, or is to have: check what it promises. */
void sim_request_end(struct sim_request *request, int result);
/* A remote write into a client's memory. Under the fabric's lock. */
void sim_client_observe(struct sim_client *client,
                        const struct fake_write *write);

/* Its device reads memory to send it once more. Under the fabric's lock. */
void sim_client_observe_resend(struct sim_client *client,
                               const struct fake_resend *resend);

/* owner.c */
void sim_server_begin(struct sim *sim);
void sim_server_kill(struct sim *sim, enum fake_death death);
void sim_server_stop(struct sim *sim);
/* End all sessions and take no new ones, until it is resumed. */
void sim_server_drain(struct sim *sim, bool drained);
/* The server finds that this client's connection is lost. */
void sim_server_lose(struct sim *sim, unsigned int client);
/* The program and its backend; true if something was done. */
bool sim_server_life(struct sim *sim);
bool sim_server_serve_queue(struct sim_queue *queue, bool readable);
uint64_t sim_server_due(const struct sim *sim);
bool sim_server_holds(const struct sim *sim, unsigned int client,
                      unsigned int serial);

/* open.c */
/* A holder that is not in use, all zero. */
struct sim_holder *sim_holder_find(struct sim *sim);
enum rdisk_status sim_server_open(void *opaque,
                                  struct rdisk_target_session *session,
                                  const struct rdisk_open_request *request,
                                  struct rdisk_open_grant *grant, void **user,
                                  struct rdisk_error *err);
void sim_server_close(void *opaque, void *user, bool orderly);
enum rdisk_status sim_server_release(void *opaque, void *user,
                                     struct rdisk_error *err);
/* An OPEN of this client that was in flight for long: @age epochs old. */
void sim_server_replay(struct sim *sim, unsigned int client, unsigned int age);

/* jobs.c */
struct jobs *sim_jobs(struct sim *sim);
/* True if a job was run, or its done() was; or could be now. */
bool sim_jobs_life(struct sim *sim);
uint64_t sim_jobs_due(const struct sim *sim);
/* All end now: the program was killed. */
void sim_jobs_hurry(struct sim *sim);

/* Until the fault is over. */
void sim_server_remove_device(struct sim *sim);
void sim_server_restore_device(struct sim *sim);
/* slots.c: for struct rdisk_target_events; what is due of them; the limit of
 * memory; true if no queue has more than its base. */
void sim_slots_returned(void *queue_user, struct rdisk_target_grant *grant);
void sim_slots_idle(void *queue_user, struct rdisk_target_grant *grant);
bool sim_slots_due(const struct sim_queue *queue);
bool sim_slots_serve(struct sim_queue *queue);
void sim_slots_check(struct sim *sim);
bool sim_slots_all_returned(struct sim *sim);
void sim_slots_return_in_use(struct sim_client *client);

/* True if there is work for this queue without an event. */
bool sim_server_queue_due(const struct sim_queue *queue);
/* The features that a session, or a server, does not have. */
uint64_t sim_withheld(struct sim *sim);
/* Which clients may connect, if not all. */
#define SIM_USER "sim"
void sim_secret(struct rdisk_secret *secret);

/* visitor.c */
void sim_visitor_begin(struct sim *sim);
/* Bring a session to the state @goal; @what then happens. */
void sim_visitor_come(struct sim *sim, unsigned int goal, unsigned int what,
                      unsigned int how);
void sim_visitor_leave(struct sim *sim);
/* No more faults: it affects only itself. */
void sim_visitor_calm(struct sim *sim);
bool sim_visitor_life(struct sim *sim);
uint64_t sim_visitor_due(const struct sim *sim);
/* For the server's owner: true if this volume, and its session, are a
 * visitor's. */
bool sim_visitors(const char *volume);
enum rdisk_status sim_visitor_open(struct sim *sim, struct sim_holder *holder,
                                   struct rdisk_target_session *session,
                                   const struct rdisk_open_request *request,
                                   struct rdisk_open_grant *grant,
                                   struct rdisk_error *err);
enum rdisk_status sim_visitor_create(struct sim *sim, struct sim_holder *holder,
                                     struct rdisk_target_session *session,
                                     const struct rdisk_create_request *request,
                                     struct rdisk_error *err);
enum rdisk_status sim_visitor_list(struct sim *sim, struct sim_holder *holder,
                                   struct rdisk_target_session *session,
                                   const struct rdisk_list_request *request,
                                   struct rdisk_list_page *page,
                                   struct rdisk_error *err);
void sim_visitor_close(struct sim *sim, struct sim_holder *holder);
/* A client's session is closed: the record does not keep the volume for it. */
void sim_check_given_back(const struct sim *sim, unsigned int client,
                          unsigned int serial, uint64_t generation);
enum rdisk_status sim_visitor_release(struct sim *sim,
                                      struct sim_holder *holder);

/* turns.c: of a server that starts; of one of its queues. */
void sim_turns_begin(struct sim *sim);
void sim_turns_join(struct sim_queue *queue);
void sim_turns_leave(struct sim_queue *queue);
/* Start a request when its turn comes; it has ended. */
void sim_turns_arrive(struct sim_queue *queue,
                      struct rdisk_target_request *request);
void sim_turns_ended(struct sim *sim, struct sim_turn *turn);
bool sim_turns_life(struct sim *sim);
/* What is parked is not started any more. */
void sim_turns_die(struct sim *sim);

/* backend.c */
void sim_backend_request(void *queue_user,
                         struct rdisk_target_request *request);
void sim_backend_start(struct sim_queue *queue,
                       struct rdisk_target_request *request,
                       struct sim_turn *turn);
/* A defect: carry out a write that is answered already. */
void sim_backend_ghost(struct sim_queue *queue,
                       struct rdisk_target_request *request);
/* True if a request was carried out. */
bool sim_backend_life(struct sim *sim);
/* What was in flight is carried out, in part, or not. */
void sim_backend_die(struct sim *sim);

/* map.c */
void sim_check_extents(const struct sim_request *request);
void sim_server_tell_extents(struct sim *sim, const struct sim_op *op);

/* size.c */
void sim_client_resize(struct sim_client *client, unsigned int blocks);
void sim_client_told(void *opaque, uint64_t size);
enum rdisk_status sim_server_resize(void *opaque, void *user, uint64_t size,
                                    bool shrink, struct rdisk_error *err);
bool sim_sizes_known(struct sim *sim);

/* True if this mutation is active. */
static inline bool sim_mutated(const struct sim *sim,
                               enum sim_mutation mutation)
{
    return sim->mutation == mutation;
}

/* True if @data is one block of one word. */
bool sim_block_read(const void *data, uint64_t *word);
void sim_block_fill(void *data, uint64_t word);

#endif
