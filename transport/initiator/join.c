/* SPDX-License-Identifier: BSD-3-Clause */
/* How the data queues of a session join it, and begin to serve requests. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/initiator/session.h"

/* Of an attempt to open it that was granted another number. */
static void drop_queues(struct rdisk_queues *queues)
{
    for (unsigned int i = 0; i < queues->count; i++) {
        rdisk_queue_destroy(&queues->list[i]);
    }
    free(queues->list);
    queues->list = NULL;
    queues->count = 0;
}

static int create_queues(struct rdisk_initiator *session,
                         struct rdisk_error *err)
{
    struct rdisk_queues *queues = &session->queues;
    unsigned int n = session->info.queues;

    if (queues->list && queues->count == n) {
        return 0; /* from the connection before */
    }
    drop_queues(queues);
    queues->list = calloc(n, sizeof(queues->list[0]));
    if (!queues->list) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    for (unsigned int i = 0; i < n; i++) {
        queues->count++;
        if (rdisk_queue_init(&queues->list[i], session, i + 1) < 0) {
            return rdisk_error_set(err, -errno,
                                   "cannot create a queue's descriptors: %s",
                                   strerror(errno));
        }
    }
    return 0;
}

void rdisk_initiator_join(struct rdisk_initiator *session)
{
    struct rdisk_error err = { 0 };
    int ret = create_queues(session, &err);

    session->queues.joined = 0;
    for (unsigned int i = 0; ret == 0 && i < session->queues.count; i++) {
        ret = rdisk_link_start(&session->queues.list[i].link, &err);
    }
    if (ret < 0) {
        rdisk_initiator_raise_error(session, RDISK_EVENT_LOST, &err);
    }
}

/* All slots that OPEN_REPLY granted, or a base. */
static bool fits_grant(const struct rdisk_initiator *session,
                       const struct rdisk_wire_accept *accept)
{
    unsigned int slots = le16toh(accept->slots);
    uint32_t slot_size = le32toh(accept->slot_size);

    return session->handshake.auth.chosen & RDISK_FEATURE_SLOTS
               ? slots <= RDISK_BASE_SLOTS_MAX &&
                     slot_size <= session->info.max_transfer
               : slots <= session->queues.slots &&
                     slot_size == session->info.max_transfer;
}

void rdisk_initiator_queue_up(struct rdisk_initiator *session,
                              struct rdisk_queue *queue,
                              const struct rdisk_wire_accept *accept)
{
    struct rdisk_queues *queues = &session->queues;

    if (!fits_grant(session, accept)) {
        rdisk_initiator_raise_lost(
            session, -EPROTO,
            "%s: slot grant of %u slots of %u bytes does not match "
            "OPEN_REPLY: %u of %u",
            session->peer, le16toh(accept->slots), le32toh(accept->slot_size),
            queues->slots, session->info.max_transfer);
        return;
    }
    rdisk_queue_set_grant(queue, accept);
    if (!session->recovery.established) {
        session->info.max_segments = queues->list[0].max_segments;
    }
    if (++queues->joined == queues->count) {
        rdisk_initiator_raise(session, RDISK_EVENT_JOINED);
    }
}

void rdisk_initiator_serve(struct rdisk_initiator *session)
{
    struct rdisk_recovery *recovery = &session->recovery;

    session->durations.steps.join = rdisk_initiator_step(session);
    recovery->deadline = RDISK_NEVER;
    if (recovery->established) {
        rdisk_counter_add(&recovery->reconnects, 1);
        rdisk_log(session->env, RDISK_LOG_WARNING,
                  "reconnected to %s, epoch %llu", session->peer,
                  (unsigned long long)session->epoch);
    }
    recovery->established = true;
    session->servers.tried = 0;
    rdisk_initiator_reset_slots(session);
    for (unsigned int i = 0; i < session->queues.count; i++) {
        rdisk_queue_hand_over(&session->queues.list[i]);
    }
    rdisk_initiator_send_calls(session);
}

void rdisk_initiator_wake_queues(struct rdisk_initiator *session)
{
    for (unsigned int i = 0; i < session->queues.count; i++) {
        rdisk_queue_wake(&session->queues.list[i]);
    }
}
