/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the fake device share; its users include fake.h. */
#ifndef FAKE_INTERNAL_H
#define FAKE_INTERNAL_H

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/queue.h>

#include "fake.h"

#define FAKE_REQ_DATA 56u /* bytes a listener sees of a REQ */
#define FAKE_REP_DATA 196u
#define FAKE_REJ_DATA 148u
#define FAKE_MTU      1024u /* packets of a write break on multiples */

#define FAKE_REJ_NO_LISTENER 8 /* IB_CM_REJ_INVALID_SERVICE_ID */
#define FAKE_REJ_TIMEOUT     4
#define FAKE_REJ_CONSUMER    28 /* IB_CM_REJ_CONSUMER_DEFINED */

enum fake_object {
    FAKE_OBJECT_EVENT_CHANNEL,
    FAKE_OBJECT_ID,
    FAKE_OBJECT_CM_EVENT,
    FAKE_OBJECT_PD,
    FAKE_OBJECT_MR,
    FAKE_OBJECT_MW,
    FAKE_OBJECT_COMP_CHANNEL,
    FAKE_OBJECT_CQ,
    FAKE_OBJECT_QP,
    FAKE_OBJECT_NAME_QUERY,
    FAKE_OBJECTS
};

struct fake_channel {
    struct rdma_event_channel channel;
    struct fake_host *host;
    TAILQ_HEAD(, fake_event) events;
    unsigned int user; /* the user that opened it: the host's */
    unsigned int ids;
    unsigned int unacked; /* taken and not acknowledged */
};

struct fake_event {
    struct rdma_cm_event event; /* first: it is what the user holds */
    TAILQ_ENTRY(fake_event) link;
    struct fake_channel *channel;
    struct fake_id *owner; /* whose destruction waits for the ack */
    struct fake_id *child; /* CONNECT_REQUEST: until it is taken */
    uint8_t data[FAKE_REP_DATA];
};

enum fake_cm_state {
    FAKE_CM_IDLE,
    FAKE_CM_BOUND, /* has a local address */
    FAKE_CM_LISTEN,
    FAKE_CM_ADDR_QUERY,
    FAKE_CM_ADDR_RESOLVED,
    FAKE_CM_ROUTE_QUERY,
    FAKE_CM_ROUTE_RESOLVED,
    FAKE_CM_REQ_SENT,
    FAKE_CM_REP_RECEIVED, /* ESTABLISHED waits to be taken */
    FAKE_CM_REQ_RECEIVED,
    FAKE_CM_REP_SENT,
    FAKE_CM_CONNECTED,
    FAKE_CM_DREQ_SENT,
    FAKE_CM_DREQ_RECEIVED,
    FAKE_CM_CLOSED,
};

struct fake_id {
    struct rdma_cm_id id;      /* first */
    TAILQ_ENTRY(fake_id) link; /* of the fabric */
    struct fake_id *hash_next;
    struct fake_host *host;
    uint32_t number; /* names it on the wire; never reused */
    uint32_t remote; /* number of the id at the other end; 0 */
    struct fake_host *remote_host;
    uint32_t remote_qpn;
    enum fake_cm_state state;
    unsigned int born;        /* host's removals when it got its device */
    struct fake_id *listener; /* of a child that was not taken yet */
    unsigned int unacked;
    unsigned int backlog, waiting;
    uint8_t ack_timeout, retry_count, rnr_retry;
    uint8_t reads_in, reads_out; /* RDMA READs at a time, as agreed on */
    bool both; /* on "::": takes IPv4, too; as if bindv6only were set */
};

enum fake_message_kind {
    /* Local: happens to @from after a time. */
    FAKE_ADDR_DONE,
    FAKE_ROUTE_DONE,
    FAKE_CONNECT_TIMEOUT,
    FAKE_DISCONNECT_TIMEOUT,
    FAKE_TIME_WAIT_END,
    /* Over the wire. */
    FAKE_REQ,
    FAKE_REP,
    FAKE_RTU,
    FAKE_REJ,
    FAKE_DREQ,
    FAKE_DREP,
};

struct fake_message {
    TAILQ_ENTRY(fake_message) link;
    enum fake_message_kind kind;
    uint64_t due;
    struct fake_host *from_host, *to_host;
    uint32_t from, to; /* numbers of ids */
    int status;
    struct sockaddr_in address; /* REQ: source; ADDR: destination */
    uint16_t port;              /* REQ: of the listener */
    struct rdma_conn_param param;
    uint8_t data[FAKE_REP_DATA];
};

struct fake_pd {
    struct ibv_pd pd;          /* first */
    TAILQ_ENTRY(fake_pd) link; /* of the host */
    struct fake_host *host;
    unsigned int born; /* host's removals then */
    unsigned int users;
};

enum fake_key_kind { FAKE_LOCAL_KEY, FAKE_REMOTE_KEY, FAKE_KEYS };

#define FAKE_KEY_HASH 4096u

struct fake_mr {
    struct ibv_mr mr;          /* first */
    TAILQ_ENTRY(fake_mr) link; /* of the host */
    struct fake_mr *hash_next[FAKE_KEYS];
    struct fake_pd *pd;
    int access;
    unsigned int windows; /* bound to it */
};

/* A memory window of type 2B. */
struct fake_mw {
    struct ibv_mw mw;          /* first; its rkey is the user's business */
    TAILQ_ENTRY(fake_mw) link; /* of the host */
    struct fake_pd *pd;
    uint32_t key;       /* of the last bind */
    struct fake_mr *mr; /* NULL: not bound */
    struct fake_qp *qp; /* through which it is good, while bound */
    uint64_t address, length;
    int access;
};

struct fake_comp_channel {
    struct ibv_comp_channel channel; /* first */
    struct fake_host *host;
    unsigned int born; /* host's removals then */
    TAILQ_HEAD(, fake_cq_event) events;
    unsigned int cqs;
};

struct fake_cq_event {
    TAILQ_ENTRY(fake_cq_event) link;
    struct fake_cq *cq;
};

struct fake_cqe {
    struct ibv_wc wc;
    uint32_t sequence; /* of the work request that it proves */
    bool send;
};

enum fake_arm { FAKE_DISARMED, FAKE_ARMED, FAKE_ARMED_SOLICITED };

struct fake_cq {
    struct ibv_cq cq;          /* first */
    TAILQ_ENTRY(fake_cq) link; /* of the host */
    struct fake_host *host;
    unsigned int born; /* host's removals then */
    struct fake_comp_channel *channel;
    struct fake_cqe *entries; /* ring of cq.cqe */
    unsigned int first, count;
    enum fake_arm arm;
    unsigned int unacked;
    unsigned int users;
};

/* A bind or an invalidation, as the device gets it. */
struct fake_bind {
    uint32_t old_key, new_key, lkey;
    uint64_t address, length;
    int access;
};

struct fake_send {
    uint64_t wr_id;
    enum ibv_wr_opcode opcode;
    bool signalled, solicited, is_inline;
    uint32_t imm, rkey;
    uint64_t remote;
    struct ibv_sge *sges;
    uint64_t *sums; /* of what each sge held when it was sent */
    int num_sge;
    uint8_t *inline_data;
    uint8_t *answer;           /* of an RDMA READ that was executed, or NULL */
    uint32_t length;           /* bytes of the message */
    uint32_t sent;             /* of these, on the wire */
    enum ibv_wc_status status; /* as answered by the responder */
    struct fake_bind bind;
};

struct fake_receive {
    uint64_t wr_id;
    struct ibv_sge *sges;
    int num_sge;
};

struct fake_packet {
    STAILQ_ENTRY(fake_packet) link;
    struct fake_host *from_host;
    uint32_t from;     /* number of the queue pair */
    uint32_t sequence; /* of its work request */
    enum ibv_wr_opcode opcode;
    bool last, solicited;
    uint32_t imm, rkey;
    uint64_t remote;       /* where these bytes go */
    uint64_t remote_start; /* where the whole message goes */
    uint32_t total;        /* bytes of the message */
    uint32_t size;
    uint8_t data[];
};

/*
 * Work requests are counted; a count modulo the queue's depth is its place.
 * Send queue: freed <= acked <= executed <= sent <= posted.
 */
#define FAKE_QP_HASH 4096u
#define FAKE_ID_HASH 4096u

struct fake_qp {
    struct ibv_qp qp;          /* first */
    TAILQ_ENTRY(fake_qp) link; /* of the fabric */
    TAILQ_ENTRY(fake_qp) busy_link;
    struct fake_qp *hash_next;
    uint64_t serial; /* in the order of creation */
    bool busy;       /* in the fabric's list */
    struct fake_host *host;
    unsigned int born; /* host's removals then */
    struct fake_id *id;
    struct fake_pd *pd;
    struct fake_cq *send_cq, *recv_cq;
    struct ibv_qp_cap cap;
    bool signal_all;

    struct fake_send *sends;
    struct ibv_sge *send_sges;
    uint64_t *send_sums;
    uint8_t *inline_data;
    uint32_t send_posted, send_sent, send_executed, send_acked, send_freed;
    struct fake_receive *receives;
    struct ibv_sge *recv_sges;
    uint32_t recv_posted, recv_consumed, recv_freed;
    uint32_t recv_flush; /* in ERR: how far they are flushed */

    struct fake_qp *peer; /* NULL: none, or gone */
    struct fake_host *peer_host;
    uint32_t peer_num;
    STAILQ_HEAD(, fake_packet) wire; /* in flight to this queue pair */
    uint32_t ack_limit;              /* no further answer, if ack_limited */
    bool ack_limited;
    bool acks_lost;
    unsigned int resends; /* since the last acknowledgement */
    uint64_t resend_due;  /* 0: not waiting for one */
    bool refused;         /* an answer with an error is in flight */
    bool cut, mute;
    bool late; /* in ERR, one more write may still land */
    uint8_t ack_timeout, retry_count, rnr_retry;
    uint8_t reads_in, reads_out; /* RDMA READs at a time */
    unsigned int rnr_tries;
    uint64_t wire_due; /* nothing arrives here before */
    uint64_t stalled;  /* since when the peer is out of reach */
};

#define FAKE_NAMES_MAX 4u

struct fake_name {
    char host[32];       /* "": free */
    char addresses[200]; /* separated by spaces */
    uint64_t delay;
};

struct fake_query {
    struct rdisk_name_query query; /* first */
    TAILQ_ENTRY(fake_query) link;  /* of the fabric */
    struct fake_fabric *fabric;
    char host[32];
    uint16_t port;
    uint64_t asked;
    bool answered;
    struct rdisk_addresses answer;
};

struct fake_fault {
    uint64_t calls;
    uint64_t at; /* number of the call that fails */
    unsigned int one_in;
    int error, random_error;
};

/* A device that is restored is another one, with a context of its own, as long
 * as what is left of the older one is in use. */
#define FAKE_DEVICES 8u

struct fake_device {
    struct ibv_context context; /* first */
    struct fake_host *host;
};

struct fake_host {
    struct fake_fabric *fabric;
    unsigned int index; /* in the table of all hosts */
    struct in_addr address;
    char text[INET_ADDRSTRLEN];
    struct rdisk_verbs verbs;
    struct ibv_device device;
    struct fake_device devices[FAKE_DEVICES];
    struct fake_limits limits;
    struct fake_fault faults[FAKE_CALLS];
    uint64_t not_ready; /* messages that found no receive */
    TAILQ_HEAD(, fake_pd) pds;
    TAILQ_HEAD(, fake_cq) cqs;
    TAILQ_HEAD(, fake_mr) mrs;
    struct fake_mr *mr_hash[FAKE_KEYS][FAKE_KEY_HASH];
    TAILQ_HEAD(, fake_mw) mws;
    unsigned int mr_count, mw_count, qp_count;
    uint64_t registered; /* bytes */
    bool down, removed;
    bool no_link;
    uint64_t settled;      /* the link passes nothing before */
    uint64_t told;         /* the port calls itself active before */
    bool deaf;             /* its connection manager, permanently */
    unsigned int removals; /* so far; an older object stays unusable */
    unsigned int user;     /* of its program; others' channels refuse it */
    uint64_t random_state;
    uint64_t cut; /* bit per host index */
    uint64_t delayed[FAKE_HOSTS_MAX];
};

struct fake_fabric {
    pthread_mutex_t mutex;
    uint64_t random_state;
    uint64_t now;
    bool automatic;
    unsigned int loss;
    struct fake_timing timing;
    struct fake_host *hosts[FAKE_HOSTS_MAX];
    unsigned int host_count;
    uint32_t last_id;
    /* By an id's number: the last pass over all messages that met one of it. */
    uint64_t *visited, pass;
    unsigned int visited_room;
    TAILQ_HEAD(, fake_id) ids;
    TAILQ_HEAD(, fake_qp) qps;
    /* Those that may have something to deliver, in the order of creation. */
    TAILQ_HEAD(fake_busy_list, fake_qp) busy;
    struct fake_qp *qp_hash[FAKE_QP_HASH];
    struct fake_id *id_hash[FAKE_ID_HASH];
    uint64_t qp_serial;
    TAILQ_HEAD(fake_message_list, fake_message) messages;
    TAILQ_HEAD(, fake_query) queries;
    struct fake_name names[FAKE_NAMES_MAX];
    unsigned int live[FAKE_OBJECTS];
    void (*observe)(void *opaque, const struct fake_write *write);
    void *observe_opaque;
    void (*resend)(void *opaque, const struct fake_resend *resend);
    void *resend_opaque;
    void (*misuse)(void *opaque, const char *sentence);
    void *misuse_opaque;
};

/* ---- fabric.c: all under the fabric's mutex, if not noted otherwise ---- */

void fake_lock(struct fake_fabric *fabric);
/* Delivers everything first in automatic mode. */
void fake_unlock(struct fake_fabric *fabric);
uint64_t fake_random64(uint64_t *state);
uint64_t fake_pick(struct fake_fabric *fabric, uint64_t bound);
void fake_misuse(struct fake_fabric *fabric, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void *fake_alloc(size_t size); /* zeroed, or abort() */
int fake_eventfd(void);
void fake_fd_set(int fd);
void fake_fd_clear(int fd);
/* True if the device was removed since an object was created, even if it was
 * restored. */
static inline bool fake_gone(const struct fake_host *host, unsigned int born)
{
    return host->removed || host->removals != born;
}

/* Of the device that there is now, or was last. */
static inline struct ibv_context *fake_context(struct fake_host *host)
{
    return &host->devices[host->removals % FAKE_DEVICES].context;
}

static inline struct fake_host *fake_context_host(struct ibv_context *context)
{
    return ((struct fake_device *)context)->host;
}

static inline bool fake_linked(const struct fake_host *host)
{
    return !host->no_link && host->fabric->now >= host->settled;
}

struct fake_host *fake_find_host(struct fake_fabric *fabric,
                                 struct in_addr address);

/* ---- host.c ----------------------------------------------------------- */

void fake_host_release(struct fake_host *host);

/* ---- fault.c ---------------------------------------------------------- */

/* Counts the call; 0 or the negative errno that it is to fail with. */
int fake_called(struct fake_host *host, enum fake_call call);
/* True if a packet may pass now. If not, *@due is when it may, or
 * RDISK_NEVER. */
bool fake_link_up(struct fake_host *a, struct fake_host *b, uint64_t *due);
/* librdmacm closes a removed device with the last id on it. */
void fake_device_closes(struct fake_host *host, unsigned int born);

/* ---- cm.c, connection.c, message.c ------------------------------------ */

/* 0, or -EACCES: another user has opened it. */
int fake_channel_allows(const struct rdma_event_channel *channel);
struct fake_id *fake_id_new(struct fake_channel *channel, void *context);
void fake_id_discard(struct fake_id *id);
struct fake_id *fake_find_id(struct fake_fabric *fabric, uint32_t number);
struct fake_event *fake_event_push(struct fake_id *id,
                                   enum rdma_cm_event_type type, int status);
/* Queue a message of @from's; over the wire it goes to its remote end. */
struct fake_message *fake_message_new(struct fake_id *from,
                                      enum fake_message_kind kind,
                                      uint64_t delay);
void fake_message_cancel(struct fake_fabric *fabric, uint32_t from,
                         enum fake_message_kind kind);
/* Forget all that @host has sent. */
void fake_message_drop(struct fake_host *host);
/* How many can be delivered now, and the delivery of one of these. */
unsigned int fake_message_count(struct fake_fabric *fabric, uint64_t *next);
void fake_message_deliver(struct fake_fabric *fabric, unsigned int index);
/* Send the other end the disconnect of this one, in whatever state it is. */
void fake_id_hang_up(struct fake_id *id);
void fake_cm_verbs(struct rdisk_verbs *verbs);
struct rdma_event_channel *fake_event_channel_new(struct fake_host *host);
void fake_message_data(struct fake_message *message, const void *data,
                       size_t size);
/* The user takes ESTABLISHED: its queue pair becomes ready. */
void fake_connection_response(struct fake_id *id, struct fake_event *event);
void fake_connection_verbs(struct rdisk_verbs *verbs);

/* ---- name.c ----------------------------------------------------------- */

struct rdisk_name_query *fake_name_query(struct fake_host *host,
                                         const char *name, uint16_t port);
/* How many can be answered now, and the answer to one of these. */
unsigned int fake_query_count(struct fake_fabric *fabric, uint64_t *next);
void fake_query_deliver(struct fake_fabric *fabric, unsigned int index);
void fake_name_verbs(struct rdisk_verbs *verbs);

/* ---- memory.c --------------------------------------------------------- */

void fake_memory_verbs(struct rdisk_verbs *verbs);
/* True if this range may be used with this key. @access 0: to read locally. */
bool fake_key_allows(struct fake_host *host, struct fake_pd *pd, bool remote,
                     uint32_t key, uint64_t address, uint64_t length,
                     int access);

/* A key that is no window's, no region's, and follows from none. */
uint32_t fake_new_key(struct fake_host *host);

/* ---- window.c --------------------------------------------------------- */

void fake_window_verbs(struct rdisk_verbs *verbs);
/* Work that the device does by itself, without the peer. */
static inline bool fake_is_local(enum ibv_wr_opcode opcode)
{
    return opcode == IBV_WR_BIND_MW || opcode == IBV_WR_LOCAL_INV;
}

/* What of a work request counts when it is carried out; -EINVAL if it can
 * not be posted. */
int fake_window_describe(const struct fake_qp *qp, const struct ibv_send_wr *wr,
                         struct fake_bind *bind);
/* Carry it out: IBV_WC_SUCCESS, or why not. */
enum ibv_wc_status fake_window_execute(struct fake_qp *qp,
                                       const struct fake_send *send);
/* True if the peer may write here, by a window's key or a region's. */
bool fake_remote_allows(struct fake_qp *qp, uint32_t key, uint64_t address,
                        uint64_t length);
struct fake_mw *fake_find_window(struct fake_host *host, uint32_t index);
/* Unbind what is bound to this region, or this queue pair. */
void fake_windows_drop(struct fake_host *host, const struct fake_mr *mr,
                       const struct fake_qp *qp);
/* Windows that are bound to a queue pair. */
unsigned int fake_windows_of(const struct fake_qp *qp);

/* ---- cq.c ------------------------------------------------------------- */

void fake_cq_verbs(struct rdisk_verbs *verbs);
void fake_cq_push(struct fake_cq *cq, const struct fake_cqe *cqe,
                  bool solicited);

/* ---- qp.c ------------------------------------------------------------- */

void fake_qp_verbs(struct rdisk_verbs *verbs);
void fake_qp_connect(struct fake_qp *qp, uint32_t peer_num,
                     struct fake_host *peer_host);
void fake_qp_fail(struct fake_qp *qp); /* into ERR */
void fake_qp_drop_wire(struct fake_qp *qp, bool some);
/* It may have something to deliver from now on. */
void fake_qp_touch(struct fake_qp *qp);
/* It has not, until it is touched. */
bool fake_qp_rests(const struct fake_qp *qp);
struct fake_qp *fake_find_qp(struct fake_fabric *fabric, uint32_t number);

/* ---- transfer.c ------------------------------------------------------- */

/* How many things could be delivered for this queue pair now; *@next is
 * lowered to when more could. Notices peers out of reach. */
unsigned int fake_qp_ready(struct fake_qp *qp, uint64_t *next);
/* Deliver one of them. */
void fake_qp_deliver(struct fake_qp *qp, unsigned int index);

/* Garbage but for what the specification defines. */
void fake_cqe_poison(struct fake_qp *qp, struct fake_cqe *cqe);
/* What the peer has executed is done up to the next that it must execute. */
void fake_qp_skip_local(struct fake_qp *qp);

static inline struct fake_send *fake_send_at(struct fake_qp *qp,
                                             uint32_t sequence)
{
    return &qp->sends[sequence % qp->cap.max_send_wr];
}

static inline bool fake_with_immediate(enum ibv_wr_opcode opcode)
{
    return opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
}

/* ---- read.c ----------------------------------------------------------- */

/* The peer's RDMA READ of this queue pair's memory; @sender is NULL if it does
 * not wait for it any more. */
enum ibv_wc_status fake_read_execute(struct fake_qp *qp, struct fake_qp *sender,
                                     const struct fake_packet *packet);
/* What was read arrives where it belongs. */
void fake_read_land(struct fake_qp *qp, struct fake_send *send);
/* True if the next to be sent is an RDMA READ, and as many are in flight as may
 * be. */
bool fake_read_must_wait(struct fake_qp *qp);

/* ---- arrival.c -------------------------------------------------------- */

/* The packet at the head of the wire. */
void fake_qp_arrive(struct fake_qp *qp);
/* The oldest receive completes. @packet is NULL unless @status is success. */
void fake_receive_complete(struct fake_qp *qp, enum ibv_wc_status status,
                           const struct fake_packet *packet);

#endif
