/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deliberate defects, each of which the simulator must find. They are in the
 * simulator's own code, never in the product.
 */
#ifndef SIM_MUTATION_H
#define SIM_MUTATION_H

#include <stdbool.h>

#include "transport/verbs/verbs.h"

/*
 * X(name, promise of docs/simulator.md, what is broken). The names are those
 * of -m; the page has the same table, which make lint compares.
 */
#define SIM_MUTATIONS(X) \
    X(NO_FENCE, "no-fence", 3, \
      "a client that reconnects is accepted beside its older session") \
    X(NO_DRAIN, "no-drain", 3, \
      "the older session is fenced, but its requests are not waited for") \
    X(EARLY_ANSWER, "early-answer", 1, \
      "writes are answered before they are carried out") \
    X(NO_FLUSH, "no-flush", 1, "FLUSH is answered, the cache stays volatile") \
    X(NO_FUA, "no-fua", 1, "FUA is ignored") \
    X(KILL_LOSES_CACHE, "kill-loses-cache", 1, \
      "answered writes die with the server's program") \
    X(FALSE_HOLE, "false-hole", 1, "extents report data as zeroes") \
    X(RESIZE_NOT_REPORTED, "resize-not-reported", 1, \
      "a resize is not reported to other sessions") \
    X(STALE_READ, "stale-read", 1, "reads come from a stale cache") \
    X(TORN_WRITE, "torn-write", 2, "a block is half old, half new") \
    X(LOSS_HIDDEN, "loss-hidden", 5, \
      "the identity of the volume's volatile cache is not compared") \
    X(ONE_QUEUE_REPORTS, "one-queue-reports", 5, \
      "only the flushes of one queue report a lost cache") \
    X(LATE_FLUSH_SUCCEEDS, "late-flush-succeeds", 5, \
      "a flush that was in flight when the cache was lost succeeds") \
    X(NO_EPOCH_CHECK, "no-epoch-check", 3, \
      "an OPEN of an older epoch ends the newer session") \
    X(NO_GENERATION_CHECK, "no-generation-check", 6, \
      "a client reconnects although another one had the volume") \
    X(LEASE_NOT_SAVED, "lease-not-saved", 6, \
      "a restarted server has only the first generation") \
    X(LEASE_NOT_COMPARED, "lease-not-compared", 6, \
      "a server uses its copy of the lease in memory instead of the record") \
    X(EARLY_CLOSE, "early-close", 6, \
      "CLOSE is answered before the record of the lease is written") \
    X(TWO_WRITERS, "two-writers", 6, \
      "a volume that has a writer is given to another one") \
    X(NO_TURNS, "no-turns", 6, \
      "openings and closings of a volume do not take turns") \
    X(LATE_GRANT_KEPT, "late-grant-kept", 7, \
      "a session that ends while its OPEN is decided keeps the volume") \
    X(LATE_DMA, "late-dma", 4, \
      "requests end before their queue pairs are in ERROR") \
    X(WINDOW_OPEN, "window-open", 4, \
      "a read ends before its memory windows are closed") \
    X(ACK_NOT_AWAITED, "ack-not-awaited", 4, \
      "a write ends with its answer, although its sends are not " \
      "acknowledged") \
    X(PARKED_STARTS, "parked-starts", 3, \
      "a parked write of a connection that is lost is carried out later") \
    X(RESEND_FAILED, "resend-failed", 3, "a failed write is sent again later") \
    X(BARE_SLOT, "bare-slot", 1, \
      "the server takes another slot for a bare write") \
    X(BARE_BLOCK, "bare-block", 1, \
      "a bare write is carried out one block too far") \
    X(BARE_BASE, "bare-base", 1, \
      "the server does not move the base of bare writes") \
    X(VECTOR_HALF, "vector-half", 7, \
      "the second half of a message of several requests is lost") \
    X(VECTOR_PLACE, "vector-place", 7, \
      "a message of several requests begins and ends before its place") \
    X(OTHER_REPLY, "other-reply", 7, \
      "a DELETE is answered as a CREATE would be") \
    X(LIST_AGAIN, "list-again", 7, \
      "a page of the list of volumes begins with the last one of the page " \
      "before") \
    X(ANSWER_TWICE, "answer-twice", 7, \
      "a message of several answers has one of them twice") \
    X(ANSWER_LEFT_OUT, "answer-left-out", 7, \
      "a message of several answers leaves the last one out") \
    X(ANSWER_AREA, "answer-area", 7, \
      "a message of several answers goes to another slot's area") \
    X(WANT_LOST, "want-lost", 7, \
      "the server does not learn that requests wait for slots") \
    X(GRANT_BEYOND, "grant-beyond", 7, \
      "a queue is granted one slot more than there is memory for") \
    X(RETURN_IN_USE, "return-in-use", 7, \
      "a client returns slots that it has just been granted, and uses them") \
    X(RECALL_TAKES, "recall-takes", 7, \
      "the server releases slots when it recalls them") \
    X(NEVER_RETURNED, "never-returned", 8, \
      "slots that a client has returned are not released") \
    X(NO_RANGE_CHECK, "no-range-check", 6, \
      "the server does not compare ranges with the end of the volume") \
    X(WRONG_ADDRESS, "wrong-address", 4, \
      "a read's payload is written one block too far") \
    X(CHANGED_TOO_EARLY, "changed-too-early", 9, \
      "a resident volume is replaced before its sessions have ended") \
    X(DOUBLE_COMPLETION, "double-completion", 7, \
      "a request is completed twice") \
    X(LOST_REQUEST, "lost-request", 7, "the server loses a request") \
    X(NO_ERROR_STATE, "no-error-state", 7, \
      "a broken connection's queue pairs never go to ERROR") \
    X(LOST_FLUSH, "lost-completion", 7, \
      "a flushed work request's completion is lost") \
    X(LINKLESS_DISCONNECT, "linkless-disconnect", 7, \
      "a disconnect is sent on a device without a link") \
    X(ONE_ADDRESS, "one-address", 7, \
      "only the first of a name's addresses is tried") \
    X(RESOLVED_ONCE, "resolved-once", 7, "a name is resolved once only") \
    X(LEAK, "leak", 8, "the server does not release a queue that has ended")

enum sim_mutation {
    SIM_INTACT,
#define SIM_MUTATION_ENUM(id, name, promise, what) SIM_MUTATE_##id,
    SIM_MUTATIONS(SIM_MUTATION_ENUM)
#undef SIM_MUTATION_ENUM
        SIM_MUTATION_COUNT
};

const char *sim_mutation_name(enum sim_mutation mutation);
const char *sim_mutation_what(enum sim_mutation mutation);
int sim_mutation_promise(enum sim_mutation mutation);

/* Put a mutation between a host's verbs and the transport. */
void sim_mutate_client_verbs(struct rdisk_verbs *verbs,
                             enum sim_mutation mutation);
/* Do what SIM_MUTATE_LATE_DMA has deferred; false: there was nothing. */
bool sim_mutate_catch_up(void);
void sim_mutate_server_verbs(struct rdisk_verbs *verbs,
                             enum sim_mutation mutation);

/* mutation_bare.c: the same of bare writes; queues have @slots slots. */
void sim_mutate_bare_client(struct rdisk_verbs *verbs,
                            enum sim_mutation mutation, unsigned int slots);
void sim_mutate_bare_server(struct rdisk_verbs *verbs,
                            enum sim_mutation mutation, unsigned int slots);

bool sim_mutates_bare(enum sim_mutation mutation);

/* mutation_slots.c: the same of slots that come and go. */
void sim_mutate_slots_client(struct rdisk_verbs *verbs,
                             enum sim_mutation mutation);
void sim_mutate_slots_server(struct rdisk_verbs *verbs,
                             enum sim_mutation mutation);

/* mutation_vector.c: the same of several requests, or answers, in a message. */
void sim_mutate_vector_client(struct rdisk_verbs *verbs,
                              enum sim_mutation mutation);
void sim_mutate_vector_server(struct rdisk_verbs *verbs,
                              enum sim_mutation mutation);

#endif
