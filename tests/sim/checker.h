/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk's guarantees, checked against what its clients read.
 *
 * The checker does not depend on sessions, slots or servers. It is called when
 * a request is submitted and when it ends, when the backend carries a write
 * out, and when power fails; time is the order of these calls. For each block
 * it keeps the *candidates*: every write whose bytes the block may hold.
 *
 * - A write is a candidate from its submission on. It may be carried out more
 *   than once (sent again after a lost connection), but only until its *end*:
 *   its success, or, if it failed, the moment from which no attempt of it can
 *   be left anywhere (its client is back on a new connection, its session is
 *   closed at the server, or the server was killed). Carried out after that, it
 *   is a ghost write.
 * - A write is *certain* when it has succeeded, or when a read has returned
 *   its bytes. That rules out every candidate that had ended before it was
 *   submitted.
 * - A read that returns the bytes of one candidate rules out the others that
 *   had ended before that read was submitted: they lie below it, and may not
 *   come up again.
 * - A read may return a candidate that was not ruled out before the read was
 *   submitted, and nothing else; each block whole.
 * - A power failure brings back all that was ruled out by writes that were not
 *   yet stable. Stable is a write with FUA that has succeeded, and a write that
 *   had succeeded before a flush was submitted that has succeeded.
 * - What was lost with a volatile cache must be reported: no flush that covers
 * a
 *   write of its own session that was lost succeeds, unless one that covers it
 *   had failed before it was submitted.
 * - A session's epochs only grow, and a writer that does not share the volume
 *   is the only one that has it.
 * - After a session that was opened later has written, no write of an earlier
 *   one takes effect any more, even if it reconnects, if they do not share the
 *   volume.
 * - A DISCARD is a candidate that reads as anything.
 */
#ifndef SIM_CHECKER_H
#define SIM_CHECKER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/disk.h"
#include "tests/sim/schedule.h"
#include "transport/wire/wire.h"

#define SIM_WRITES (SIM_EVENTS + 1u)
#define SIM_NEVER  UINT64_MAX

struct sim_write {
    unsigned int client, serial;
    enum rdisk_op op;
    unsigned int block, count;
    bool fua;
    uint64_t submitted;
    uint64_t end;      /* no attempt is left; SIM_NEVER: may be */
    uint64_t answered; /* its success or failure; SIM_NEVER */
    bool succeeded;
    bool stable;
    bool kept;            /* carried out, then a flush was */
    bool lost;            /* not kept at a power failure */
    uint64_t told;        /* the end of a flush that failed since;
                                   SIM_NEVER */
    uint64_t carried_out; /* last; 0: not yet */
};

struct sim_candidate {
    unsigned int write;
    uint64_t ruled_out; /* when; SIM_NEVER: not */
    bool for_good;      /* no power failure brings it back */
};

struct sim_checker {
    uint64_t clock;
    uint64_t power_failed; /* last; 0: never */
    struct sim_write writes[SIM_WRITES];
    unsigned int write_count;
    struct sim_candidate candidates[SIM_BLOCKS][SIM_WRITES];
    unsigned int candidate_count[SIM_BLOCKS];
    /* Of each client: its newest session, that one's newest epoch, and how
     * often the server has it. */
    struct sim_newest {
        unsigned int serial;
        unsigned int term; /* of that session */
        uint64_t epoch;
        unsigned int open; /* sessions of any serial */
        bool exclusive;
    } newest[SIM_CLIENTS];
    unsigned int term;    /* one more with each new exclusive session */
    unsigned int written; /* newest term that has written */
};

/* The word that write number @write puts into @block. */
uint64_t sim_word(const struct sim_checker *checker, unsigned int write,
                  unsigned int block);
/* Words that no write has. */
#define SIM_POISON  0xdeaddeaddeaddeadull /* buffers not in use */
#define SIM_RUBBISH 0xddddddddddddddddull /* what was discarded */
#define SIM_COPIED \
    0xc0c0c0c0c0c0c0c0ull /* what a COPY copies: blocks
                                                   behind the others that
                                                   are never written */

void sim_check_begin(struct sim_checker *checker);

/* Submission; each returns the clock or the write's number. */
unsigned int sim_check_write(struct sim_checker *checker, unsigned int client,
                             unsigned int serial, enum rdisk_op op,
                             unsigned int block, unsigned int count, bool fua);
/* The write just announced was not taken. */
void sim_check_refused(struct sim_checker *checker, unsigned int number);
uint64_t sim_check_submit(struct sim_checker *checker);

/* The end of each. @data: @count blocks. */
void sim_check_write_end(struct sim_checker *checker, unsigned int number,
                         bool success);
void sim_check_read_end(struct sim_checker *checker, uint64_t submitted,
                        unsigned int block, unsigned int count,
                        const uint8_t *data);
void sim_check_flush_end(struct sim_checker *checker, uint64_t submitted,
                         unsigned int client, unsigned int serial,
                         bool success);

/* The backend carries out a write of this client's bytes. */
void sim_check_carried_out(struct sim_checker *checker, unsigned int client,
                           unsigned int serial, unsigned int block,
                           uint64_t word);
/* The same for ZEROES, DISCARD and COPY, which have no bytes. */
void sim_check_range_carried_out(struct sim_checker *checker,
                                 unsigned int client, unsigned int serial,
                                 enum rdisk_op op, unsigned int block,
                                 unsigned int count);

/* The backend carries out a flush. */
void sim_check_flushed(struct sim_checker *checker);

/* No attempt is left of the failed writes of this session. */
void sim_check_settled(struct sim_checker *checker, unsigned int client,
                       unsigned int serial);
/* The same for all sessions: the server was killed. */
void sim_check_all_settled(struct sim_checker *checker);
void sim_check_power_fails(struct sim_checker *checker);
/*
 * The server opens a session, and has ended it. A session's epochs only grow; a
 * writer that does not share is alone. @first: the session has not been READY,
 * so that it takes its turn after all that have written.
 */
void sim_check_granted(struct sim_checker *checker, unsigned int client,
                       unsigned int serial, uint64_t epoch, bool exclusive,
                       bool first);
void sim_check_closed(struct sim_checker *checker, unsigned int client,
                      unsigned int serial);

#endif
