/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens in a run. Everything an event needs is in the event itself, so
 * that a failing schedule can be cut down by leaving events out.
 */
#ifndef SIM_SCHEDULE_H
#define SIM_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_CLIENTS 3u
#define SIM_EVENTS  160u
/* visitor.c: states of a session on the server, and what happens there. */
#define SIM_VISITOR_GOALS 16u
#define SIM_VISITOR_ACTS  11u
#define SIM_RUN           8u /* blocks of the longest request */

/* What clients call the server. */
enum sim_name {
    SIM_NAME_ADDRESS,
    SIM_NAME_HOST,   /* a name with its address, */
    SIM_NAME_DEAD,   /* and before that one that no host has, */
    SIM_NAME_REFUSE, /* or one where no server listens */
    SIM_NAME_COUNT
};

struct sim_config {
    unsigned int clients;
    bool shared; /* all may write at once */
    unsigned int queues, slots;
    unsigned int reconnect_delay_ms, heartbeat_ms, request_timeout_ms;
    unsigned int open_timeout_ms;
    unsigned int lease_time_ms;  /* of the server */
    unsigned int max_silence_ms; /* of the server */
    unsigned int slowest_us;     /* that the backend takes for a request */
    unsigned int guest_memory;   /* enum rdisk_guest_memory, of all clients */
    bool write_acks;
    bool authenticate;
    unsigned int name;   /* of the server: enum sim_name */
    unsigned int loss;   /* one packet in so many; 0: none */
    unsigned int memory; /* bytes of the server's slots; 0: plenty */
};

enum sim_event_kind {
    SIM_SUBMIT, /* a request */
    SIM_CUT,    /* a client's link */
    SIM_MEND,
    SIM_AWAY,    /* the same, and the server detects it at once */
    SIM_NO_LINK, /* at an end, which detects it: a client's or the server's */
    SIM_LINK,
    SIM_DELAY,     /* packets of a client's link */
    SIM_LOSS,      /* of packets, everywhere */
    SIM_BREAK,     /* a queue pair */
    SIM_CUT_QP,    /* one queue pair receives nothing any more */
    SIM_LOSE_ACKS, /* of what one queue pair sends */
    SIM_KILL,      /* the server's program is killed */
    SIM_POWER,     /* the server's power fails */
    SIM_STOP,      /* the server begins to stop */
    SIM_DRAIN,     /* the server takes no new sessions for now */
    SIM_RESUME,
    SIM_START,  /* the server */
    SIM_REMOVE, /* a client's device */
    SIM_RESTORE,
    SIM_FAIL,  /* a verbs call */
    SIM_STALL, /* a client's threads are not scheduled */
    SIM_STALL_SERVER,
    SIM_SLOW,   /* the backend */
    SIM_ERRORS, /* of the backend */
    SIM_CANCEL, /* the wait for a lost connection, or it itself */
    SIM_CLOSE,  /* a session, to be opened again later */
    SIM_CRASH,  /* a client's program is killed */
    SIM_REPLAY, /* an OPEN arrives that is older than the session */
    SIM_NAME,   /* the resolver fails, is slow, or returns another address */
    SIM_RESIZE, /* a client makes the volume larger */
    SIM_VISIT,  /* a visitor (visitor.h) connects to the server */
    SIM_AMBUSH, /* something happens to it in a certain state */
    SIM_KINDS
};

struct sim_event {
    enum sim_event_kind kind;
    /* What goes on before it: so many deliveries, then so much time. */
    unsigned int steps, wait_ms;
    unsigned int a, b, c, d, e;
};

struct sim_schedule {
    uint64_t seed;
    struct sim_config config;
    struct sim_event events[SIM_EVENTS];
    unsigned int count;
};

void sim_schedule_make(struct sim_schedule *schedule, uint64_t seed);
void sim_config_text(const struct sim_config *config, char *text, size_t size);
void sim_event_text(const struct sim_event *event, char *text, size_t size);
void sim_schedule_print(const struct sim_schedule *schedule, FILE *file);

#endif
