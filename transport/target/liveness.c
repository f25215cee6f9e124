/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Liveness of a session's client.
 *
 * A client sends a message four times per heartbeat, unless its thread is busy:
 * QEMU's main loop may be blocked for a minute while it allocates memory. So
 * after one heartbeat without a message the server probes the client: it writes
 * zero bytes. The client's device acknowledges that without its program, as
 * long as the queue pair exists, hence the program, its machine and the network
 * work.
 */
#include "transport/target/session.h"

/*
 * Between probes of a client that promises no messages (heartbeat=0), such as
 * one that is being debugged: often enough that a machine that lost its power
 * does not hold a volume and its slots without limit.
 */
#define UNPROMISED_MS 30000

void rdisk_target_liveness_begin(struct rdisk_target_session *session,
                                 uint32_t heartbeat_ms)
{
    uint64_t now = rdisk_now(session->target->env);

    session->liveness = (struct rdisk_target_liveness) {
        .interval = (heartbeat_ms ? heartbeat_ms : UNPROMISED_MS) * RDISK_MSEC,
        .promised = heartbeat_ms,
        .message = now,
        .sign = now,
    };
}

void rdisk_target_liveness_message(struct rdisk_target_session *session)
{
    struct rdisk_target_liveness *liveness = &session->liveness;

    liveness->message = rdisk_now(session->target->env);
    liveness->sign = liveness->message;
}

/*
 * Twice the interval without a message, and the client is lost; but a server
 * that was not scheduled itself gives a probe the time to be acknowledged
 * first.
 */
static uint64_t acknowledgement_due(
    const struct rdisk_target_liveness *liveness)
{
    uint64_t sign = liveness->sign + 2 * liveness->interval;
    uint64_t probe = liveness->probe_sent + liveness->interval;

    return sign > probe ? sign : probe;
}

/*
 * A program that hangs must not keep a volume without limit. But one that
 * works sends no more often than its heartbeat requires, however short
 * max-silence is.
 */
static uint64_t max_silence(const struct rdisk_target_session *session)
{
    uint64_t least = 2 * session->liveness.interval;
    uint64_t most = session->target->options.max_silence_ms * RDISK_MSEC;

    return most > least ? most : least;
}

static uint64_t message_due(const struct rdisk_target_session *session)
{
    return session->liveness.promised
               ? session->liveness.message + max_silence(session)
               : RDISK_NEVER;
}

uint64_t rdisk_target_liveness_deadline(
    const struct rdisk_target_session *session)
{
    const struct rdisk_target_liveness *liveness = &session->liveness;
    uint64_t sign, message;

    if (!liveness->interval) {
        return RDISK_NEVER;
    }
    sign = liveness->probing ? acknowledgement_due(liveness)
                             : liveness->sign + liveness->interval;
    message = message_due(session);
    return sign < message ? sign : message;
}

void rdisk_target_liveness_probe(struct rdisk_target_session *session,
                                 uint64_t now)
{
    struct rdisk_target_liveness *liveness = &session->liveness;

    if (!liveness->interval) {
        return;
    }
    if (liveness->probing &&
        rdisk_qp_sent(&session->control.qp, liveness->probe)) {
        liveness->probing = false;
        if (liveness->sign < liveness->probe_sent) {
            liveness->sign = liveness->probe_sent;
        }
    }
    if (!liveness->probing && now >= liveness->sign + liveness->interval) {
        liveness->probing = true;
        liveness->probe_sent = now;
        liveness->probe = rdisk_control_probe(&session->control);
    }
}

bool rdisk_target_liveness_lost(const struct rdisk_target_session *session,
                                uint64_t now)
{
    const struct rdisk_target_liveness *liveness = &session->liveness;

    if (!liveness->interval) {
        return false;
    }
    if (liveness->probing && now >= acknowledgement_due(liveness)) {
        rdisk_log(session->target->env, RDISK_LOG_WARNING,
                  "%s: no message received for %g seconds, and its device does "
                  "not acknowledge a probe",
                  session->request.peer,
                  (double)(2 * liveness->interval / RDISK_MSEC) / 1000);
        return true;
    }
    if (now >= message_due(session)) {
        rdisk_log(session->target->env, RDISK_LOG_WARNING,
                  "%s: no message received for %g seconds (max-silence, and "
                  "at least twice its heartbeat), though its device "
                  "acknowledges probes",
                  session->request.peer,
                  (double)(max_silence(session) / RDISK_MSEC) / 1000);
        return true;
    }
    return false;
}
