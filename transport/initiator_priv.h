/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the initiator's files: links, queues, and the session itself. */
#ifndef RDISK_INITIATOR_PRIV_H
#define RDISK_INITIATOR_PRIV_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "bounce.h"
#include "control.h"
#include "device.h"
#include "initiator.h"
#include "options.h"
#include "qp.h"

/* ---- Link: one outgoing connection ------------------------------------ */

enum rdisk_link_state {
    RDISK_LINK_IDLE,        /* nothing asked for yet */
    RDISK_LINK_ADDRESS,     /* which device reaches the server? */
    RDISK_LINK_ROUTE,       /* how does it? */
    RDISK_LINK_CONNECT,     /* request sent, waiting for REP or REJ */
    RDISK_LINK_UP,
    RDISK_LINK_DOWN,        /* refused, failed or disconnected */
};

struct rdisk_link {
    struct rdisk_initiator *session;
    unsigned int queue;     /* 0: control; 1…: data queue index */
    enum rdisk_link_state state;
    struct rdma_cm_id *id;
};

/* Begin to connect. Errors found at once come back; later ones end the
 * session through rdisk_initiator_fail(). */
int rdisk_link_start(struct rdisk_link *link, struct rdisk_error *err);
/* A connection manager event for this link. */
void rdisk_link_event(struct rdisk_link *link,
                      const struct rdma_cm_event *event);
/* Disconnect, if there is something to disconnect. */
void rdisk_link_disconnect(struct rdisk_link *link);
/* After its queue pair is gone and no event of it is unacknowledged. */
void rdisk_link_destroy(struct rdisk_link *link);

/* Segments and the fixed header of the longest request, in bytes. */
#define RDISK_HEADER_MAX (sizeof(struct rdisk_wire_request) + \
    RDISK_SEGMENTS_MAX * sizeof(struct rdisk_wire_segment))

/* A registered piece of a request's memory. */
struct rdisk_piece {
    uint64_t address;
    uint32_t length;
    struct rdisk_memory_keys keys;
};

/* ---- Queue ------------------------------------------------------------ */

struct rdisk_queue {
    struct rdisk_initiator *session;
    struct rdisk_link link;         /* home thread */
    struct rdisk_qp qp;
    bool created;                   /* qp, headers and bounce exist */

    /* The server's lease; constant once joined. */
    uint64_t base;
    uint32_t rkey;
    uint32_t stride;
    unsigned int slots;
    unsigned int max_segments;

    /* Below: queue's thread. */
    uint8_t *headers;               /* RDISK_HEADER_MAX for each slot */
    struct ibv_mr *headers_mr;
    size_t headers_size;
    struct rdisk_request **in_slot; /* the request in each slot, or NULL */
    uint16_t *free_slots;           /* a stack */
    unsigned int free_count;
    struct rdisk_bounce bounce;
    struct rdisk_piece pieces[RDISK_SEGMENTS_MAX];  /* of the one being sent */
    struct rdisk_request *waiting;  /* first of those without a slot */
    struct rdisk_request **waiting_end;
    uint32_t sequence;
    atomic_uint outstanding;        /* taken and not completed */
    atomic_uint in_slots;           /* of these, on their way */
    /* When each slot's request is too late; RDISK_NEVER if free. Read by the
     * home thread. */
    _Atomic uint64_t *deadlines;

    bool reported;                  /* the session knows that it broke */

    rdisk_counter reads, writes, flushes, failed, read_bytes, write_bytes,
                  copied_bytes, bounced, waited;
};

/* Home thread, when the device is known: queue pair and memory. */
int rdisk_queue_create(struct rdisk_queue *queue, struct rdisk_error *err);
/* Home thread, when the server has accepted. */
void rdisk_queue_lease(struct rdisk_queue *queue,
                       const struct rdisk_wire_accept *accept);
void rdisk_queue_destroy(struct rdisk_queue *queue);
/*
 * Queue's thread: put a request into a slot and stage its work requests.
 * False: it must wait for a slot, for bounce memory, or for room.
 */
bool rdisk_queue_stage(struct rdisk_queue *queue,
                       struct rdisk_request *request);
/* Home thread: no request is in a slot. */
bool rdisk_queue_dry(struct rdisk_queue *queue);
/* Home thread: is a request later than @now? */
bool rdisk_queue_overdue(struct rdisk_queue *queue, uint64_t now);

/* ---- Session ---------------------------------------------------------- */

struct rdisk_initiator {
    const struct rdisk_env *env;
    struct rdisk_initiator_options options;     /* strings are ours */
    const struct rdisk_initiator_events *events;
    void *opaque;

    _Atomic int state;              /* enum rdisk_initiator_state */
    struct rdisk_error error;       /* why FAILED */
    int poll_fd;                    /* epoll over the channels and alarm_fd */
    int alarm_fd;                   /* eventfd: a queue's thread saw it break */
    struct rdma_event_channel *channel;
    struct sockaddr_storage address;
    struct rdisk_device *device;    /* from the control link's device on */
    struct rdisk_link link;         /* the control link */
    struct rdisk_control control;
    struct rdisk_queue *queues;     /* info.queues of them */
    unsigned int queues_up;

    uint8_t client[16];
    uint8_t token[16];
    uint64_t server_session;
    uint64_t epoch;
    struct rdisk_volume_info info;

    uint64_t open_deadline;         /* until READY, and for CLOSING */
    uint64_t tick;                  /* next look at heartbeat and requests */
    uint64_t heard;                 /* last message from the server */
    bool ping_sent;                 /* and not answered */
    uint64_t ping_time;
    void (*pong)(void *opaque, uint64_t round_trip);
    void *pong_opaque;

    uint64_t step_started;
    struct rdisk_initiator_steps steps;
    char device_name[64];
};

/* initiator_timer.c */

/* Start, at READY, to look for silence and late requests. */
void rdisk_initiator_start_tick(struct rdisk_initiator *session);
/* Do what is due at @now. */
void rdisk_initiator_timers(struct rdisk_initiator *session, uint64_t now);

/* initiator_message.c: the control queue's conversation. */

/* The control link is up, or the reply to HELLO has come: go on. */
void rdisk_initiator_say_hello(struct rdisk_initiator *session);
void rdisk_initiator_say_open(struct rdisk_initiator *session);
/* Send what the tick asks for: a PING. */
void rdisk_initiator_say_ping(struct rdisk_initiator *session);
/* rdisk_control_fn of a client. */
void rdisk_initiator_message(void *opaque, enum rdisk_status check,
                             const struct rdisk_wire_message *message,
                             const struct rdisk_error *err);

void rdisk_initiator_set_state(struct rdisk_initiator *session,
                               enum rdisk_initiator_state state);
/* OPEN was granted and info is filled: connect the data queues. */
void rdisk_initiator_join(struct rdisk_initiator *session);
/* First failure wins: break every queue pair and go to FAILED. */
void rdisk_initiator_fail(struct rdisk_initiator *session,
                          const struct rdisk_error *err);
/* The device that reaches the server is known. 0 or a negative errno. */
int rdisk_initiator_device(struct rdisk_initiator *session,
                           struct ibv_context *context,
                           struct rdisk_error *err);
/* The server shuts down: finish what is on its way, then fail with @why. */
void rdisk_initiator_drain(struct rdisk_initiator *session,
                           const struct rdisk_error *why);
/* A link is connected: the private data of its REP has been checked. */
void rdisk_initiator_link_up(struct rdisk_initiator *session,
                             struct rdisk_link *link,
                             const struct rdisk_wire_accept *accept);
/* The server or the network ended a link that was up. */
void rdisk_initiator_link_lost(struct rdisk_initiator *session,
                               struct rdisk_link *link);
/* Nanoseconds since the last call, for rdisk_initiator_steps. */
uint64_t rdisk_initiator_step(struct rdisk_initiator *session);

#endif
