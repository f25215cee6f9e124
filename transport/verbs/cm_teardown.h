/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the transport: the ends of connections, which the connection
 * manager sends to the other side, and which are deferred while there is no
 * link.
 *
 * rdma_disconnect() and rdma_destroy_id() send a message on the device's queue
 * pair 1. Soft-RoCE's does not survive a message that meets a link that is
 * down: the kernel's rxe_requester() moves it to ERROR, which flushes its
 * receives, and ib_mad_recv_done() posts them never again. From then on no
 * program connects through that device. So an id whose port is not active
 * keeps until it is. Its queue pair does not have to: it goes to ERROR, and is
 * destroyed, without a message.
 *
 * Threads: its owner's only.
 */
#ifndef RDISK_VERBS_CM_TEARDOWN_H
#define RDISK_VERBS_CM_TEARDOWN_H

#include <stdbool.h>

#include <rdisk/env.h>
#include "transport/verbs/verbs.h"

struct rdisk_cm_teardown;

struct rdisk_cm_teardowns {
    const struct rdisk_env *env;
    struct rdisk_cm_teardown *first;
    struct rdisk_cm_teardown *reserved; /* one for each id that is in use */
    bool reported;                      /* in the log: there is no link */
    uint64_t deadline; /* of rdisk_cm_teardowns_process(), or RDISK_NEVER */
};

/* True if there is a link to send through, or if that is not known. */
bool rdisk_port_active(const struct rdisk_env *env, struct rdma_cm_id *id);

void rdisk_cm_teardowns_init(struct rdisk_cm_teardowns *teardowns,
                             const struct rdisk_env *env);
/*
 * Make room for an id that begins, so that nothing can fail when it ends: 0, or
 * -ENOMEM, and then it must not begin. _add() uses the reservation, or
 * _release() undoes it for an id that has ended otherwise.
 */
int rdisk_cm_teardowns_reserve(struct rdisk_cm_teardowns *teardowns);
void rdisk_cm_teardowns_release(struct rdisk_cm_teardowns *teardowns);
/*
 * Destroy the id, which has no queue pair any more: at once, or when its port
 * has been active for a while. @suspect: a send has failed for lack of a link,
 * perhaps this side's, whatever its port says now; so wait for that while, too.
 * An id that has to wait has no context.
 */
void rdisk_cm_teardowns_add(struct rdisk_cm_teardowns *teardowns,
                            struct rdma_cm_id *id, bool suspect);
/* DEVICE_REMOVAL for this id: if it waits here, it need not any more. */
void rdisk_cm_teardowns_removed(struct rdisk_cm_teardowns *teardowns,
                                const struct rdma_cm_id *id);
void rdisk_cm_teardowns_process(struct rdisk_cm_teardowns *teardowns,
                                uint64_t now);
/* Their ids get another event channel. 0, or the negative errno of the last
 * that did not. */
int rdisk_cm_teardowns_migrate(struct rdisk_cm_teardowns *teardowns,
                               struct rdma_event_channel *channel);
/* Destroy them all, whatever becomes of the messages. */
void rdisk_cm_teardowns_end(struct rdisk_cm_teardowns *teardowns);

#endif
