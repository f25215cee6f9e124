/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is the client of a session still there?
 *
 * It says something four times per heartbeat. A program that is busy elsewhere
 * does not, though: QEMU's main loop may stand still for a minute while it
 * allocates memory. So after one heartbeat of silence the server writes nothing
 * at all, zero bytes, to the client. Its device acknowledges that without its
 * program, as long as the queue pair is there: the program is, then, and
 * neither its machine nor the network is down.
 */
#include "transport/target/session.h"

/*
 * Twice the heartbeat without a sign of life, and the client is gone; but a
 * server that was away itself gives it time to answer first.
 */
static uint64_t no_pulse(const struct rdisk_target_session *session)
{
    uint64_t silence = session->alive + 2 * session->heartbeat;
    uint64_t answer = session->probed + session->heartbeat;

    return silence > answer ? silence : answer;
}

/*
 * A program that hangs must not keep a volume for ever. But one that is well
 * needs not say more than its heartbeat asks for, however short max-silence is.
 */
static uint64_t longest_silence(const struct rdisk_target_session *session)
{
    uint64_t least = 2 * session->heartbeat;
    uint64_t most = session->target->options.max_silence_ms * RDISK_MSEC;

    return most > least ? most : least;
}

static uint64_t no_word(const struct rdisk_target_session *session)
{
    return session->heard + longest_silence(session);
}

uint64_t rdisk_target_session_liveness_deadline(
    const struct rdisk_target_session *session)
{
    uint64_t pulse, word;

    if (session->heartbeat == RDISK_NEVER) {
        return RDISK_NEVER;
    }
    pulse = session->probing ? no_pulse(session)
                             : session->alive + session->heartbeat;
    word = no_word(session);
    return pulse < word ? pulse : word;
}

void rdisk_target_session_probe(struct rdisk_target_session *session,
                                uint64_t now)
{
    if (session->heartbeat == RDISK_NEVER) {
        return;
    }
    if (session->probing &&
        rdisk_qp_sent(&session->control.qp, session->probe)) {
        session->probing = false;
        if (session->alive < session->probed) {
            session->alive = session->probed;
        }
    }
    if (!session->probing && now >= session->alive + session->heartbeat) {
        session->probing = true;
        session->probed = now;
        session->probe = rdisk_control_probe(&session->control);
    }
}

bool rdisk_target_session_silent(const struct rdisk_target_session *session,
                                 uint64_t now)
{
    if (session->heartbeat == RDISK_NEVER) {
        return false;
    }
    if (session->probing && now >= no_pulse(session)) {
        rdisk_log(session->target->env, RDISK_LOG_WARNING,
                  "%s: silent for longer than twice its heartbeat, and its "
                  "device does not answer", session->request.peer);
        return true;
    }
    if (now >= no_word(session)) {
        rdisk_log(session->target->env, RDISK_LOG_WARNING,
                  "%s: silent for longer than %g seconds (max-silence, and at "
                  "least twice its heartbeat), though its device answers",
                  session->request.peer,
                  (double)(longest_silence(session) / RDISK_MSEC) / 1000);
        return true;
    }
    return false;
}
