/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's account of the volatile cache behind its volume: which answered
 * requests a flush has made stable, and what is lost if the cache is.
 *
 * Flushes of a session are numbered as they are submitted, on whichever queue;
 * one covers all that was answered before it was submitted. So a queue needs
 * to remember of its requests only the number of the first flush that covers
 * the last of them.
 */
#include <errno.h>
#include <string.h>

#include "transport/initiator/session.h"

void rdisk_queue_number_flush(struct rdisk_queue *queue,
                              struct rdisk_request *request)
{
    request->flush = atomic_fetch_add(&queue->session->flushes.submitted, 1) +
                     1;
}

static void flushed(struct rdisk_initiator *session, uint64_t number)
{
    uint64_t newest = atomic_load(&session->flushes.newest);

    while (newest < number &&
           !atomic_compare_exchange_weak(&session->flushes.newest, &newest,
                                         number)) {
    }
}

static int flush_ends(struct rdisk_initiator *session, uint64_t number,
                      int result)
{
    uint64_t pending = RDISK_FLUSH_LOSS_PENDING;

    if (result == 0 && number > atomic_load(&session->flushes.lost_until)) {
        flushed(session, number);
        return 0;
    }
    if (number >= atomic_load(&session->flushes.lost_since)) {
        /* Reported. Flushes that are submitted already fail, too. */
        atomic_compare_exchange_strong(&session->flushes.lost_until, &pending,
                                       atomic_load(
                                           &session->flushes.submitted));
    }
    return result ? result : -EIO;
}

int rdisk_queue_account(struct rdisk_queue *queue,
                        const struct rdisk_request *request, int result)
{
    struct rdisk_initiator *session = queue->session;

    if (request->op == RDISK_OP_FLUSH) {
        return flush_ends(session, request->flush, result);
    }
    if (!rdisk_op_has_segments(request->op) && result == 0 &&
        !(request->flags & RDISK_REQUEST_FUA)) {
        queue->covered_by = atomic_load_explicit(&session->flushes.submitted,
                                                 memory_order_relaxed) +
                            1;
    }
    return result;
}

/* Every queue is QUIESCED. Returns the number of the first flush that would
 * have covered everything that is not stable; 0: there is nothing. */
static uint64_t unstable(struct rdisk_initiator *session)
{
    uint64_t newest = atomic_load(&session->flushes.newest);
    uint64_t since = 0;

    for (unsigned int i = 0; i < session->queues.count; i++) {
        const struct rdisk_queue *queue = &session->queues.list[i];
        uint64_t number = queue->covered_by;

        RDISK_CONTRACT(atomic_load(&queue->phase) == RDISK_QUEUE_QUIESCED);
        if (number > newest && number > since) {
            since = number;
        }
    }
    return since;
}

void rdisk_initiator_take_cache(struct rdisk_initiator *session,
                                const uint8_t *cache)
{
    uint64_t since = 0;

    if (session->recovery.established &&
        memcmp(session->info.cache, cache, RDISK_ID_SIZE)) {
        since = unstable(session);
    }
    memcpy(session->info.cache, cache, RDISK_ID_SIZE);
    if (!since) {
        return;
    }
    rdisk_log(session->env, RDISK_LOG_ERROR,
              "the server of volume '%s' at %s has lost its volatile "
              "cache, as at a restart of its machine: writes that were "
              "answered and not flushed may be lost, and the next flush "
              "returns an error to report the loss",
              session->options.volume, session->peer);
    atomic_store(&session->flushes.lost_since, since);
    atomic_store(&session->flushes.lost_until, RDISK_FLUSH_LOSS_PENDING);
}
