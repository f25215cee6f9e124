/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/checker.h"

#include <string.h>

#include "tests/sim/sim.h"

/* Each block with a write's own bytes: its number, and where it belongs. */
#define MARK 0x5dull

uint64_t sim_word(const struct sim_checker *checker, unsigned int write,
                  unsigned int block)
{
    if (!write || checker->writes[write].op == RDISK_OP_ZEROES) {
        return 0;
    }
    if (checker->writes[write].op == RDISK_OP_COPY) {
        return SIM_COPIED;
    }
    return MARK << 56 | (uint64_t)write << 16 | block;
}

static bool is_range_of_any(const struct sim_write *write)
{
    return write->op == RDISK_OP_DISCARD;
}

void sim_check_begin(struct sim_checker *checker)
{
    memset(checker, 0, sizeof(*checker));
    checker->clock = 1;
    /* Write 0 made the disk: all zeroes, stable. */
    checker->writes[0] = (struct sim_write) {
        .op = RDISK_OP_ZEROES,
        .count = SIM_BLOCKS,
        .succeeded = true,
        .stable = true,
    };
    checker->write_count = 1;
    for (unsigned int i = 0; i < SIM_BLOCKS; i++) {
        checker->candidates[i][0].ruled_out = SIM_NEVER;
        checker->candidate_count[i] = 1;
    }
}

uint64_t sim_check_submit(struct sim_checker *checker)
{
    return checker->clock++;
}

unsigned int sim_check_write(struct sim_checker *checker, unsigned int client,
                             unsigned int serial, enum rdisk_op op,
                             unsigned int block, unsigned int count, bool fua)
{
    unsigned int number = checker->write_count++;

    checker->writes[number] = (struct sim_write) {
        .client = client,
        .serial = serial,
        .op = op,
        .block = block,
        .count = count,
        .fua = fua,
        .submitted = checker->clock++,
        .end = SIM_NEVER,
        .answered = SIM_NEVER,
        .told = SIM_NEVER,
    };
    for (unsigned int i = block; i < block + count; i++) {
        checker->candidates[i][checker->candidate_count[i]++] =
            (struct sim_candidate) {
                .write = number,
                .ruled_out = SIM_NEVER,
            };
    }
    return number;
}

void sim_check_refused(struct sim_checker *checker, unsigned int number)
{
    struct sim_write *write = &checker->writes[number];

    write->answered = write->end = checker->clock++;
    for (unsigned int i = write->block; i < write->block + write->count; i++) {
        /* It was the last to come. */
        checker->candidate_count[i]--;
    }
}

/* ---- What rules out what ----------------------------------------------- */

static void rule_out(struct sim_checker *checker,
                     struct sim_candidate *candidate, bool for_good)
{
    if (candidate->ruled_out == SIM_NEVER) {
        candidate->ruled_out = checker->clock;
    }
    candidate->for_good |= for_good;
}

/* @write has taken effect in @block: what had ended before it lies below. */
static void takes_effect(struct sim_checker *checker,
                         const struct sim_write *write, unsigned int block,
                         bool for_good)
{
    struct sim_candidate *candidates = checker->candidates[block];

    for (unsigned int i = 0; i < checker->candidate_count[block]; i++) {
        if (checker->writes[candidates[i].write].end < write->submitted) {
            rule_out(checker, &candidates[i], for_good);
        }
    }
}

static void takes_effect_everywhere(struct sim_checker *checker,
                                    const struct sim_write *write,
                                    bool for_good)
{
    for (unsigned int i = 0; i < write->count; i++) {
        takes_effect(checker, write, write->block + i, for_good);
    }
}

static void becomes_stable(struct sim_checker *checker, struct sim_write *write)
{
    if (!write->stable) {
        write->stable = true;
        takes_effect_everywhere(checker, write, true);
    }
}

/* ---- Ends -------------------------------------------------------------- */

void sim_check_write_end(struct sim_checker *checker, unsigned int number,
                         bool success)
{
    struct sim_write *write = &checker->writes[number];

    if (write->answered != SIM_NEVER) {
        sim_violation("write %u is completed twice", number);
    }
    write->answered = checker->clock++;
    write->succeeded = success;
    if (!success) {
        /* _settled() reports its end. */
        return;
    }
    write->end = write->answered;
    if (write->fua) {
        becomes_stable(checker, write);
    } else if (write->carried_out && !write->kept &&
               write->carried_out < checker->power_failed) {
        /* The answer was in flight when the power failed. */
        write->lost = true;
    } else {
        takes_effect_everywhere(checker, write, false);
    }
}

/* True if a read that was submitted at @submitted may return this one. */
static bool allowed(const struct sim_candidate *candidate, uint64_t submitted)
{
    return candidate->ruled_out > submitted;
}

static void explain(const struct sim_checker *checker, unsigned int block,
                    uint64_t word, uint64_t submitted)
{
    unsigned int number = (unsigned int)(word >> 16) & 0xffffffu;
    const struct sim_write *write = &checker->writes[number];

    if (word == 0) {
        sim_violation("block %u reads as zeroes, which were written over and "
                      "must not come back",
                      block);
    }
    if (word == SIM_POISON) {
        sim_violation("block %u holds bytes of a buffer whose request had "
                      "ended",
                      block);
    }
    if (word == SIM_RUBBISH) {
        sim_violation("block %u reads as what a discard left, which was "
                      "written over and must not come back",
                      block);
    }
    if (word == SIM_COPIED) {
        sim_violation("block %u reads as what was copied there, which was "
                      "written over and must not come back",
                      block);
    }
    if (word >> 56 != MARK || number >= checker->write_count) {
        sim_violation("block %u reads as 0x%016llx, which no client wrote",
                      block, (unsigned long long)word);
    }
    if ((word & 0xffff) != block) {
        sim_violation("block %u holds what write %u wrote to block %u", block,
                      number, (unsigned int)(word & 0xffff));
    }
    sim_violation("block %u reads as write %u of client %u (submitted %llu, "
                  "ended %llu%s), which a later write had replaced before "
                  "the read was submitted at %llu; last power failure %llu",
                  block, number, write->client,
                  (unsigned long long)write->submitted,
                  (unsigned long long)write->end,
                  write->succeeded ? " well" : "",
                  (unsigned long long)submitted,
                  (unsigned long long)checker->power_failed);
}

static void check_block(struct sim_checker *checker, uint64_t submitted,
                        unsigned int block, uint64_t word)
{
    struct sim_candidate *candidates = checker->candidates[block];
    unsigned int count = checker->candidate_count[block];
    struct sim_write *seen = NULL;
    unsigned int matches = 0;
    bool any = false;

    for (unsigned int i = 0; i < count; i++) {
        struct sim_write *write = &checker->writes[candidates[i].write];

        if (!allowed(&candidates[i], submitted)) {
            continue;
        }
        if (is_range_of_any(write)) {
            any = true;
        } else if (sim_word(checker, candidates[i].write, block) == word) {
            seen = write;
            matches++;
        }
    }
    if (!matches && !any) {
        explain(checker, block, word, submitted);
    }
    if (checker->power_failed > submitted) {
        /* It may have read before or after it: what it saw may be gone
         * again. */
        return;
    }
    if (matches == 1 && !any) {
        takes_effect(checker, seen, block, false);
    }
    for (unsigned int i = 0; i < count; i++) {
        const struct sim_write *write = &checker->writes[candidates[i].write];

        if (write->end < submitted && !is_range_of_any(write) &&
            sim_word(checker, candidates[i].write, block) != word) {
            rule_out(checker, &candidates[i], false);
        }
    }
}

void sim_check_read_end(struct sim_checker *checker, uint64_t submitted,
                        unsigned int block, unsigned int count,
                        const uint8_t *data)
{
    checker->clock++;
    for (unsigned int i = 0; i < count; i++) {
        uint64_t word;

        if (!sim_block_read(data + (size_t)i * SIM_BLOCK, &word)) {
            sim_violation("block %u is torn", block + i);
        }
        check_block(checker, submitted, block + i, word);
    }
}

void sim_check_flush_end(struct sim_checker *checker, uint64_t submitted,
                         unsigned int client, unsigned int serial, bool success)
{
    uint64_t now = checker->clock++;

    for (unsigned int i = 1; i < checker->write_count; i++) {
        struct sim_write *write = &checker->writes[i];

        if (!write->succeeded || write->stable ||
            write->answered >= submitted) {
            continue;
        }
        if (!write->lost) {
            if (success) {
                becomes_stable(checker, write);
            }
        } else if (write->client != client || write->serial != serial) {
            continue;
        } else if (!success) {
            write->told = write->told < now ? write->told : now;
        } else if (write->told > submitted) {
            sim_violation("a flush of client %u succeeds, although write %u "
                          "was lost with the volatile cache and no flush had "
                          "told it before this one was submitted",
                          client, i);
        }
    }
}

/* ---- The backend's side ------------------------------------------------ */

static void carried_out(struct sim_checker *checker, unsigned int number)
{
    struct sim_write *write = &checker->writes[number];

    if (write->end != SIM_NEVER) {
        sim_violation("ghost write: write %u of client %u is carried out "
                      "again although it ended %s",
                      number, write->client,
                      write->succeeded ? "well" : "with an error");
    }
    write->carried_out = checker->clock++;
    write->kept = false;
}

void sim_check_flushed(struct sim_checker *checker)
{
    for (unsigned int i = 1; i < checker->write_count; i++) {
        struct sim_write *write = &checker->writes[i];

        /* What a power failure took is not there to be kept. */
        write->kept |= write->carried_out > checker->power_failed;
    }
}

/* True if another session has opened the volume since, and written. */
static void check_term(struct sim_checker *checker, unsigned int client,
                       unsigned int serial)
{
    const struct sim_newest *newest = &checker->newest[client];

    if (!newest->exclusive) {
        return;
    }
    if (newest->serial != serial || newest->term < checker->written) {
        sim_violation("client %u still writes (session %u), although a client "
                      "that had the volume after it has written",
                      client, serial);
    }
    checker->written = newest->term;
}

void sim_check_carried_out(struct sim_checker *checker, unsigned int client,
                           unsigned int serial, unsigned int block,
                           uint64_t word)
{
    unsigned int number = (unsigned int)(word >> 16) & 0xffffffu;
    const struct sim_write *write = &checker->writes[number];

    if (word == SIM_POISON) {
        sim_violation("client %u sent a buffer whose request had ended, to "
                      "block %u",
                      client, block);
    }
    if (word >> 56 != MARK || number >= checker->write_count ||
        (word & 0xffff) != block) {
        sim_violation("0x%016llx arrived at block %u, which no client wrote "
                      "there",
                      (unsigned long long)word, block);
    }
    if (write->client != client || write->serial != serial) {
        sim_violation("write %u arrived through the session of another client",
                      number);
    }
    check_term(checker, client, serial);
    carried_out(checker, number);
}

void sim_check_range_carried_out(struct sim_checker *checker,
                                 unsigned int client, unsigned int serial,
                                 enum rdisk_op op, unsigned int block,
                                 unsigned int count)
{
    bool found = false;

    check_term(checker, client, serial);
    /* It may have been any of several that are equal. */
    for (unsigned int i = 1; i < checker->write_count; i++) {
        const struct sim_write *write = &checker->writes[i];

        if (write->client == client && write->serial == serial &&
            write->op == op && write->block == block && write->count == count &&
            write->end == SIM_NEVER) {
            carried_out(checker, i);
            found = true;
        }
    }
    if (!found) {
        sim_violation("ghost write: operation %d on blocks %u…%u of client %u "
                      "is carried out, but none is in flight",
                      op, block, block + count - 1, client);
    }
}

/* ---- Sessions, power --------------------------------------------------- */

void sim_check_settled(struct sim_checker *checker, unsigned int client,
                       unsigned int serial)
{
    uint64_t now = checker->clock++;

    for (unsigned int i = 1; i < checker->write_count; i++) {
        struct sim_write *write = &checker->writes[i];

        if (write->client == client && write->serial == serial &&
            write->answered != SIM_NEVER && write->end == SIM_NEVER) {
            write->end = now;
        }
    }
}

void sim_check_all_settled(struct sim_checker *checker)
{
    uint64_t now = checker->clock++;

    for (unsigned int i = 1; i < checker->write_count; i++) {
        struct sim_write *write = &checker->writes[i];

        if (write->answered != SIM_NEVER && write->end == SIM_NEVER) {
            write->end = now;
        }
    }
}

void sim_check_power_fails(struct sim_checker *checker)
{
    checker->power_failed = checker->clock++;
    for (unsigned int i = 1; i < checker->write_count; i++) {
        struct sim_write *write = &checker->writes[i];

        write->lost |= write->succeeded && !write->stable && !write->kept;
    }
    for (unsigned int block = 0; block < SIM_BLOCKS; block++) {
        for (unsigned int i = 0; i < checker->candidate_count[block]; i++) {
            struct sim_candidate *candidate = &checker->candidates[block][i];

            if (!candidate->for_good) {
                candidate->ruled_out = SIM_NEVER;
            }
        }
    }
}

void sim_check_granted(struct sim_checker *checker, unsigned int client,
                       unsigned int serial, uint64_t epoch, bool exclusive,
                       bool first)
{
    struct sim_newest *newest = &checker->newest[client];

    for (unsigned int i = 0; i < SIM_CLIENTS; i++) {
        const struct sim_newest *other = &checker->newest[i];

        if (i != client && other->open && (exclusive || other->exclusive)) {
            sim_violation("client %u is let in while client %u has the volume "
                          "for itself",
                          client, i);
        }
    }
    if (newest->serial == serial && epoch <= newest->epoch) {
        sim_violation("epoch %llu of client %u is let in after its epoch %llu",
                      (unsigned long long)epoch, client,
                      (unsigned long long)newest->epoch);
    }
    if (serial > newest->serial || (serial == newest->serial && first)) {
        newest->term = ++checker->term;
    }
    if (serial >= newest->serial) {
        newest->serial = serial;
        newest->epoch = epoch;
    }
    newest->open++;
    newest->exclusive = exclusive;
}

void sim_check_closed(struct sim_checker *checker, unsigned int client,
                      unsigned int serial)
{
    checker->newest[client].open--;
}
