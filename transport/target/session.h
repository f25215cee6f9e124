/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the target's files: listener, sessions, queues. */
#ifndef RDISK_TARGET_SESSION_H
#define RDISK_TARGET_SESSION_H

#include <stdatomic.h>

#include "transport/verbs/control.h"
#include "transport/verbs/limits.h"
#include "transport/verbs/cm_teardown.h"
#include "transport/verbs/qp.h"
#include "transport/wire/auth.h"
#include "transport/wire/op_counters.h"
#include <rdisk/target.h>

/* ---- Queue ------------------------------------------------------------ */

/* A slot as the reactor sees it. */
struct rdisk_target_slot {
    struct rdisk_target_request request;
    struct rdisk_target_slot *next;     /* on the list of waiting answers */
    uint32_t sequence;
    uint16_t segments;                  /* of a READ */
    enum rdisk_status status;           /* of a waiting answer */
    bool busy;                          /* from receive to answer */
};

#define RDISK_ANSWERED_MAX 64u

struct rdisk_target_queue {
    struct rdisk_target_session *session;
    struct rdisk_target_queue *next;    /* of the session; control thread */
    struct rdma_cm_id *id;
    unsigned int index;                 /* 1… */
    void *user;
    struct rdisk_request_limits limits; /* what requests are held against */
    unsigned int slots;
    unsigned int max_segments;

    uint8_t *memory;                    /* all slots */
    size_t memory_size;
    uint32_t stride;
    struct ibv_mr *mr;

    struct rdisk_target_cq *cq; /* shared with others of its reactor */

    /* Reactor thread from start to idle. */
    struct rdisk_qp qp;
    struct rdisk_target_queue *touched_next;    /* of its completion queue */
    bool touched;
    struct rdisk_target_slot *slot;
    struct rdisk_wire_segment *segments; /* RDISK_SEGMENTS_MAX per slot */
    struct rdisk_target_slot *waiting;  /* answers without room to be sent */
    struct rdisk_target_slot **waiting_end;
    atomic_uint outstanding;            /* requests at the owner; the control
                                           thread has a look at it */
    bool idle_told;
    struct rdisk_error violation;       /* why the reactor broke it, if so */

    struct rdisk_qp_counters qp_counters;
    struct rdisk_op_counters ops;
    rdisk_counter refused;

    /* Answers of which it is still to be noted how long they took: the clock
     * is read once for all that go out together. */
    struct {
        uint64_t received;
        enum rdisk_op op;
    } answered[RDISK_ANSWERED_MAX];
    unsigned int answered_count;
    struct rdisk_histogram latency[RDISK_OPS];
};

/* latency.c: an answer is about to go out, and all have. */
void rdisk_target_queue_answered(struct rdisk_target_queue *queue,
                                 const struct rdisk_target_slot *slot);
void rdisk_target_queue_posted(struct rdisk_target_queue *queue);

/* Control thread: everything but the acceptance. */
struct rdisk_target_queue *rdisk_target_queue_create(
    struct rdisk_target_session *session, struct rdma_cm_id *id,
    const struct rdisk_wire_connect *wire, struct rdisk_error *err);
void rdisk_target_queue_destroy(struct rdisk_target_queue *queue);
/* Its reactor: a completion of it, taken at @now. True if it was a request. */
bool rdisk_target_queue_take(struct rdisk_target_queue *queue,
                             const struct ibv_wc *wc, uint64_t now);
size_t rdisk_target_queue_size(unsigned int slots, uint32_t slot_size);

/* ---- Completion queues: target/cq.c ------------------------------------ */

/*
 * Control thread: one of the group's with room for a queue pair such as
 * @config, whose part in it is filled in. NULL with @err filled.
 */
struct rdisk_target_cq *rdisk_target_cq_join(
    struct rdisk_target_group *group, struct ibv_context *context,
    const struct rdisk_device_limits *limits, struct rdisk_qp_config *config,
    struct rdisk_error *err);
/* The queue pair is destroyed. The last one takes the completion queue along. */
void rdisk_target_cq_leave(struct rdisk_target_cq *cq,
                           const struct rdisk_qp_config *config);

/* Reactor: its first work request is about to be posted; its last one has come
 * back. */
void rdisk_target_cq_enter(struct rdisk_target_cq *cq,
                           struct rdisk_target_queue *queue);
void rdisk_target_cq_forget(struct rdisk_target_cq *cq,
                            struct rdisk_target_queue *queue);
void rdisk_target_cq_arm(struct rdisk_target_cq *cq);

/* ---- Session ---------------------------------------------------------- */

enum rdisk_target_state {
    RDISK_TARGET_CONNECTED,     /* accepted, no word yet */
    RDISK_TARGET_DEMANDING,     /* HELLO answered: who is it? */
    RDISK_TARGET_CHALLENGED,    /* AUTH answered: its proof comes */
    RDISK_TARGET_DENYING,       /* the proof was wrong: said at the deadline */
    RDISK_TARGET_GREETED,       /* HELLO answered, or the proof: OPEN comes */
    RDISK_TARGET_OPENING,       /* the owner wants to be asked again */
    RDISK_TARGET_CREATING,      /* the owner will answer */
    RDISK_TARGET_OPEN,          /* a volume is open, queues may join */
    RDISK_TARGET_CLOSING,       /* CLOSE came; its queues drain, then it is
                                   answered */
    RDISK_TARGET_LEAVING,       /* BYE or CLOSE_REPLY is said; the client goes */
    RDISK_TARGET_ENDED,         /* queue pairs in ERROR; queues drain */
};

/* A RESIZE or a STAT that the owner answers later. */
struct rdisk_target_call {
    bool at_owner;              /* it has not answered */
    bool waiting;               /* nor has the client been refused */
    uint32_t sequence;          /* wire order */
    uint64_t size;              /* of a RESIZE */
    uint64_t deadline;
    struct rdisk_error why;     /* it takes so long */
};

struct rdisk_target_session {
    struct rdisk_target *target;
    struct rdisk_target_session *next;
    enum rdisk_target_state state;
    struct rdma_cm_id *id;
    struct ibv_pd *pd;          /* of its own: its keys open nothing else */
    struct rdisk_device_limits limits;
    struct rdisk_control control;
    bool watched;               /* the control channel is in the epoll set */

    struct rdisk_auth auth;     /* while it is to be proved */
    uint32_t proof_sequence;    /* of the AUTH_PROOF to be denied */
    bool client_left;           /* while DENYING */
    uint64_t session_id;
    uint8_t token[16];
    struct rdisk_wire_open requested;        /* what the client asked for */
    struct rdisk_open_request request;
    struct rdisk_open_grant grant;
    uint64_t features;          /* chosen */
    unsigned int granted_queues, granted_slots;
    uint32_t granted_slot_size;
    _Atomic uint64_t size;      /* of the volume, bytes; reactors read it */
    uint64_t told_size;         /* that the client knows of */
    struct rdisk_target_call resize, stat;
    struct rdisk_create_request create; /* while CREATING, without its peer
                                           and user */
    uint32_t create_sequence;   /* wire order */
    struct rdisk_error why;     /* OPENING or CREATING takes so long */
    void *user;                 /* the owner's */
    bool owner_knows;           /* it is told when the session is gone */

    struct rdisk_target_queue *queues;
    unsigned int queue_count;
    uint64_t memory;            /* bytes of slots, granted */

    bool link_suspect;               /* perhaps for want of a link here */
    bool closed;                /* the client has no claim any more */
    uint32_t close_sequence;    /* of the CLOSE to answer; wire order */
    uint64_t heartbeat;         /* ns; RDISK_NEVER: no sign of life is due */
    uint64_t heard;             /* its last message */
    uint64_t alive;             /* its last sign of life: that, or a probe */
    uint64_t probed;            /* when the probe that is under way was sent */
    uint64_t probe;             /* its work request's sequence number */
    bool probing;
    uint64_t deadline;          /* handshake, or end of LEAVING */
};

struct rdisk_target_session *rdisk_target_session_create(
    struct rdisk_target *target, struct rdma_cm_id *id,
    struct rdisk_error *err);
/* Does the volume have it, and was the feature chosen? */
static inline bool rdisk_target_session_has(
    const struct rdisk_target_session *session, uint64_t feature, bool volume)
{
    return volume && (session->features & feature);
}

/* Send, or cut. */
void rdisk_target_session_reply(struct rdisk_target_session *session,
                                struct rdisk_wire_message *reply, size_t size);
/* Answer request @sequence with a refusal, and let the client go. */
void rdisk_target_session_refuse(struct rdisk_target_session *session,
                                 uint32_t sequence,
                                 enum rdisk_message_type type,
                                 enum rdisk_status status, const char *text);

/* Nothing more to say: the client has a second to go. */
void rdisk_target_session_leave(struct rdisk_target_session *session);

/* call.c: CREATE, RESIZE and STAT have come; tell of a size that is not known
 * there yet. */
void rdisk_target_session_asked_create(struct rdisk_target_session *session,
                                       const struct rdisk_wire_create *wire);
void rdisk_target_session_asked_resize(struct rdisk_target_session *session,
                                       const struct rdisk_wire_resize *wire);
void rdisk_target_session_asked_stat(struct rdisk_target_session *session,
                                     const struct rdisk_wire_message *wire);
void rdisk_target_session_tell(struct rdisk_target_session *session);
/* The owner has not answered a CREATE in time; a RESIZE or STAT, by when, and
 * what then. */
void rdisk_target_session_create_late(struct rdisk_target_session *session);
uint64_t rdisk_target_session_calls_deadline(
    const struct rdisk_target_session *session);
void rdisk_target_session_calls_late(struct rdisk_target_session *session,
                                     uint64_t now);

/* auth.c: AUTH and AUTH_PROOF have come; DENYING is over. */
void rdisk_target_session_auth(struct rdisk_target_session *session,
                               const struct rdisk_wire_auth *wire);
void rdisk_target_session_proof(struct rdisk_target_session *session,
                                const struct rdisk_wire_auth_proof *wire);
void rdisk_target_session_deny(struct rdisk_target_session *session);

/* liveness.c: when the client will be taken for dead, or asked for a sign
 * of life; ask; has it been silent for too long (which is logged)? */
uint64_t rdisk_target_session_liveness_deadline(
    const struct rdisk_target_session *session);
void rdisk_target_session_probe(struct rdisk_target_session *session,
                                uint64_t now);
bool rdisk_target_session_silent(const struct rdisk_target_session *session,
                                 uint64_t now);

/* A queue connects: check that it belongs, create it, hand it to the owner. */
enum rdisk_status rdisk_target_session_join(
    struct rdisk_target_session *session, struct rdma_cm_id *id,
    const struct rdisk_wire_connect *wire, struct rdisk_error *err);
/* open.c: OPEN has come; the owner has not answered it in time. */
void rdisk_target_session_open(struct rdisk_target_session *session,
                               const struct rdisk_wire_open *wire);
void rdisk_target_session_open_late(struct rdisk_target_session *session);
/* Break everything: no word, no access any more. */
void rdisk_target_session_cut(struct rdisk_target_session *session);
void rdisk_target_session_process(struct rdisk_target_session *session,
                                  uint64_t now);
/* When _process() must look at the latest. */
uint64_t rdisk_target_session_deadline(
    const struct rdisk_target_session *session);
/* A queue is gone: if it was the last one of a CLOSE, answer that. */
void rdisk_target_session_drained(struct rdisk_target_session *session);
/* ENDED, and every queue has been released: free it. */
bool rdisk_target_session_over(const struct rdisk_target_session *session);
void rdisk_target_session_destroy(struct rdisk_target_session *session);

/* ---- Target ----------------------------------------------------------- */

struct rdisk_target {
    const struct rdisk_env *env;
    struct rdisk_target_options options;
    const struct rdisk_target_events *events;
    void *opaque;
    struct rdma_event_channel *channel;
    struct rdma_cm_id *listener;    /* NULL: its device is gone */
    struct rdisk_target_device_watch *device_watches; /* one for each device */
    struct rdisk_cm_teardowns teardowns;
    uint64_t listen_again;      /* when to try, or RDISK_NEVER */
    int poll_fd;                /* epoll over all control channels */
    uint8_t instance[16];
    struct rdisk_target_session *sessions;
    unsigned int session_count;
    uint64_t memory;            /* bytes of slots, all sessions */
    bool stopping;
    bool processing;            /* sessions are freed at the end of it only */
};

int rdisk_target_watch(struct rdisk_target *target, int fd);

/* listener.c */

/* On failure a listener may be left, to be destroyed with the target. */
int rdisk_target_listen(struct rdisk_target *target, struct rdisk_error *err);
/* Its device is gone. Returns the id, to be destroyed after the event. */
struct rdma_cm_id *rdisk_target_listener_lost(struct rdisk_target *target);
/* Try whether the device is back. */
void rdisk_target_listen_again(struct rdisk_target *target);
/* Hear of the removal of the device that @id is on. */
void rdisk_target_watch_device(struct rdisk_target *target,
                         const struct rdma_cm_id *id);
/* True if @id is a device watch that is no longer needed: the caller destroys it. */
bool rdisk_target_release_watch(struct rdisk_target *target,
                               const struct rdma_cm_id *id);
void rdisk_target_release_watches(struct rdisk_target *target);

#endif
