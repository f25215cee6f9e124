/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fabric of hosts with RDMA devices, in one process and without hardware.
 *
 * Each host has an address, a device and a struct rdisk_verbs of its own. What
 * goes through it behaves as RC verbs and rdma_cm do: bytes move between
 * registered regions, keys, bounds, access flags and queue pair states are
 * checked, errors flush, and what the specification leaves open is decided by
 * the seed, preferably in the inconvenient way.
 *
 * Nothing happens by itself. What is in flight (packets, acknowledgements,
 * flushes, connection messages, timeouts) waits until fake_fabric_step()
 * delivers one of them, chosen among those that the ordering rules allow; or
 * each call delivers all of it at once in automatic mode. Time is virtual and
 * moves by fake_fabric_advance(), and a little with each step.
 *
 * Misuse that real libraries punish by blocking indefinitely or by undefined
 * behaviour (a CQ that overflows, a CQ destroyed with unacknowledged events)
 * aborts with a sentence, unless a test takes it with
 * fake_fabric_on_misuse().
 *
 * Any thread may call in: one mutex per fabric. The observer runs under it.
 */
#ifndef FAKE_H
#define FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rdisk/env.h>
#include "transport/verbs/verbs.h"

#define FAKE_HOSTS_MAX 32 /* of all fabrics alive at a time */

struct fake_fabric;
struct fake_host;

/* ---- Fabric and hosts ------------------------------------------------- */

struct fake_fabric *fake_fabric_new(uint64_t seed);
/*
 * Ends the fabric. Returns how many objects (ids, queue pairs, …) their owner
 * has not destroyed, after telling of each kind on stderr.
 */
unsigned int fake_fabric_free(struct fake_fabric *fabric);
/* The same count, without ending anything; @text may be NULL. */
unsigned int fake_fabric_live(struct fake_fabric *fabric, char *text,
                              size_t size);

/* A host that is up, with a device called fake<N>, at an IPv4 address. */
struct fake_host *fake_host_add(struct fake_fabric *fabric,
                                const char *address);
const struct rdisk_verbs *fake_host_verbs(struct fake_host *host);
const char *fake_host_address(const struct fake_host *host);
/* Verbs of @host, virtual time, seeded random; log to stderr if the
 * environment variable FAKE_LOG is set. */
void fake_host_env(struct fake_host *host, struct rdisk_env *env);

/* What query_device() returns and create calls enforce; changes apply to later
 * calls. memlock: bytes that may be registered together. */
struct fake_limits {
    int max_qp_wr, max_sge, max_cqe, max_qp, max_mr;
    int max_mw;      /* of type 2; 0: the device has none */
    int max_sge_rd;  /* of an RDMA READ */
    int max_rd_atom; /* RDMA READs of a queue pair, either way; 0: none */
    bool reads_hang; /* its RDMA READs do not end, though connections live */
    uint32_t max_inline;
    uint64_t max_mr_size, memlock;
};
struct fake_limits *fake_host_limits(struct fake_host *host);

/* ---- Delivery and time ------------------------------------------------ */

/* Deliver one thing; false if nothing can be delivered now. */
bool fake_fabric_step(struct fake_fabric *fabric);
/*
 * The same for a world of many: one thing of each queue pair that has any, and
 * all of the connection manager's that are there. A step looks at all queue
 * pairs to deliver one thing; this one delivers as much as it looks at.
 */
bool fake_fabric_sweep(struct fake_fabric *fabric);
/* Step until nothing is left for now; returns the number of steps. */
unsigned int fake_fabric_run(struct fake_fabric *fabric);
/* Deliver everything at the end of each call from now on. */
void fake_fabric_automatic(struct fake_fabric *fabric, bool automatic);

uint64_t fake_fabric_now(struct fake_fabric *fabric);
/* When the next thing that waits for time is due; RDISK_NEVER if none. */
uint64_t fake_fabric_next(struct fake_fabric *fabric);
/* Move time on, delivering everything as it comes due. */
void fake_fabric_advance(struct fake_fabric *fabric, uint64_t nanoseconds);
/* Set time without delivering anything; never back. */
void fake_fabric_set_now(struct fake_fabric *fabric, uint64_t now);

/* A number below @bound from the fabric's generator, for the test's own use. */
uint64_t fake_fabric_random(struct fake_fabric *fabric, uint64_t bound);

/* ---- Names ------------------------------------------------------------ */

/*
 * @host resolves to @addresses, IPv4, separated by spaces, none: it does not
 * exist; each answer takes @delay nanoseconds. All this holds for queries in
 * progress, too. Names without this do not exist.
 */
void fake_name_set(struct fake_fabric *fabric, const char *host,
                   const char *addresses, uint64_t delay);

/* ---- Observing -------------------------------------------------------- */

/* Bytes that are about to be written into a host's memory by another. */
struct fake_write {
    struct fake_host *host; /* whose memory */
    struct fake_host *from;
    void *address;
    size_t length;
    const void *data; /* the new bytes; the old are still there */
    uint64_t now;
    uint32_t qp_num; /* of @host, through which they come */
    bool receive;    /* into a receive, not by an RDMA write */
};
void fake_fabric_observe(struct fake_fabric *fabric,
                         void (*write)(void *opaque,
                                       const struct fake_write *write),
                         void *opaque);

/* True if another host can write into this memory by any key that it may
 * have. */
bool fake_host_exposes(struct fake_host *host, const void *address,
                       size_t length);

/* True if another host can read any of this memory, the same. */
bool fake_host_readable(struct fake_host *host, const void *address,
                        size_t length);

/*
 * True if the host's device may still send from this memory: a send that reads
 * it is not acknowledged yet, so that it would be sent again if lost.
 */
bool fake_host_sends(struct fake_host *host, const void *address,
                     size_t length);

/* Memory that a device reads once more, to send again what its peer has
 * executed already: the acknowledgement was lost. */
struct fake_resend {
    struct fake_host *host; /* whose memory */
    const void *address;
    size_t length;
    bool changed; /* since it was sent */
};
/* Under the fabric's lock. Set before the first send. */
void fake_fabric_observe_resends(
    struct fake_fabric *fabric,
    void (*resend)(void *opaque, const struct fake_resend *resend),
    void *opaque);
/* Called instead of abort(). */
void fake_fabric_on_misuse(struct fake_fabric *fabric,
                           void (*misuse)(void *opaque, const char *sentence),
                           void *opaque);

/* ---- Faults ----------------------------------------------------------- */

/*
 * The calls that can fail. A program can survive the failure of each but
 * modify_qp: one that cannot move its queue pair to ERROR has no way to keep
 * the device from its memory.
 */
enum fake_call {
    FAKE_CREATE_EVENT_CHANNEL,
    FAKE_CREATE_ID,
    FAKE_BIND_ADDR,
    FAKE_LISTEN,
    FAKE_RESOLVE_ADDR,
    FAKE_RESOLVE_ROUTE,
    FAKE_SET_ACK_TIMEOUT,
    FAKE_SET_AFONLY,
    FAKE_CREATE_QP,
    FAKE_CONNECT,
    FAKE_ACCEPT,
    FAKE_REJECT,
    FAKE_DISCONNECT,
    FAKE_QUERY_DEVICE,
    FAKE_ALLOC_PD,
    FAKE_REG_MR,
    FAKE_ALLOC_MW,
    FAKE_CREATE_COMP_CHANNEL,
    FAKE_CREATE_CQ,
    FAKE_REQ_NOTIFY_CQ,
    FAKE_POLL_CQ,
    FAKE_POST_SEND,
    FAKE_POST_RECV,
    FAKE_QUERY_NAME,
    FAKE_CONNECT_RESPONSE, /* not a call: the reply arrives but the queue
                                   pair cannot be set up; CONNECT_ERROR */
    FAKE_CALLS_SURVIVED,
    FAKE_MODIFY_QP = FAKE_CALLS_SURVIVED,
    FAKE_CALLS
};

/* The @nth such call of @host from now (1: the next) fails with @error, a
 * positive errno. One at a time for each kind; @nth 0 takes it back. */
void fake_fail(struct fake_host *host, enum fake_call call, unsigned int nth,
               int error);
/* Each such call fails with a probability of 1 in @n; 0: never. */
void fake_fail_randomly(struct fake_host *host, enum fake_call call,
                        unsigned int n, int error);
/* How often @host has made this call; failed ones count. */
uint64_t fake_calls(struct fake_host *host, enum fake_call call);

/* True if a queue pair of @host, not in ERROR, may send from the memory of
 * @lkey, again or for the first time. */
bool fake_host_reads(struct fake_host *host, uint32_t lkey);

/* How often a message to @host found no receive (RNR). */
uint64_t fake_not_ready(struct fake_host *host);

/*
 * Nothing passes between two hosts while their link is cut. A queue pair with
 * something outstanding detects that by a timeout (in virtual time), one that
 * only waits does not. A link that is mended in time loses nothing.
 */
void fake_link_cut(struct fake_host *a, struct fake_host *b, bool cut);
/* Nothing passes for so long, as if packets were lost and sent again. */
void fake_link_delay(struct fake_host *a, struct fake_host *b,
                     uint64_t nanoseconds);
/* One packet in @n is lost and comes after the sender's timeout; 0: none. */
void fake_fabric_loss(struct fake_fabric *fabric, unsigned int n);

/* The living queue pairs of a host, oldest first; NULL beyond the last. */
struct ibv_qp *fake_host_qp(struct fake_host *host, unsigned int index);
/* The same as cutting a link, for the connection of one queue pair. */
void fake_qp_cut(struct ibv_qp *qp, bool cut);
/*
 * Acknowledgements of what it sends are lost, while its packets arrive. The
 * device reads its memory and sends again at each timeout, and gives up after
 * its retries.
 */
void fake_qp_lose_acks(struct ibv_qp *qp, bool lost);
/* Break it at once: both sides go into the error state. */
void fake_qp_break(struct ibv_qp *qp);

/* The other end's connection manager ends the connection, by itself. */
void fake_id_disconnect(struct rdma_cm_id *id);

enum fake_death {
    FAKE_PROCESS_DIES, /* its kernel ends the connections; the host
                                   refuses new ones */
    FAKE_POWER_FAILS,  /* no packet, until fake_host_start() */
};
/*
 * No byte and no message of what the host's program has made leaves or
 * arrives any more. The objects stay until they are destroyed: their queue
 * pairs flush and their ids report DISCONNECTED, so that the code under test
 * can be taken down in order.
 */
void fake_host_kill(struct fake_host *host, enum fake_death death);
void fake_host_start(struct fake_host *host);
/*
 * The program changes its user: event channels that it has opened before refuse
 * it (-EACCES), with the ids on them, until these are migrated to another. An
 * event there stays, and the descriptor readable.
 */
void fake_host_change_user(struct fake_host *host);

/*
 * The host's own end of the link goes down, which it detects: its port is not
 * active, no address is found, and a send fails at once. As with Soft-RoCE,
 * after the first message that its connection manager sends meanwhile no
 * connection to or from it can be established any more, until the device is
 * removed and restored. Up, the port is active at once; timing.settle. Down, it
 * stays so for a while; timing.stale. The interface is right all the time.
 */
void fake_host_link(struct fake_host *host, bool up);
bool fake_host_deaf(struct fake_host *host);

/*
 * The device goes away: DEVICE_REMOVAL on each id, completion channels become
 * readable and stay so, calls fail with EIO, no byte moves any more. With
 * @flush the queue pairs still flush, else they report nothing any more. With
 * the last id on it the connection manager closes it: nothing may be left then.
 */
void fake_host_remove_device(struct fake_host *host, bool flush);
void fake_host_restore_device(struct fake_host *host);

/* How long things take, in nanoseconds of virtual time. */
struct fake_timing {
    uint64_t connect;    /* unanswered REQ or REP: UNREACHABLE */
    uint64_t disconnect; /* unanswered DREQ: DISCONNECTED */
    uint64_t time_wait;  /* DISCONNECTED to TIMEWAIT_EXIT */
    uint64_t rnr;        /* between two tries for a receive */
    uint64_t settle;     /* from a link's being up to its passing
                                   anything */
    uint64_t stale;      /* from its being down to the port's saying so */
    uint8_t ack_timeout; /* 4.096 us * 2^this unless set on the id */
};
struct fake_timing *fake_fabric_timing(struct fake_fabric *fabric);

#endif
