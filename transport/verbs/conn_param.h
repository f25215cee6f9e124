/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal: what connecting and accepting sides must have alike. */
#ifndef RDISK_VERBS_CONN_PARAM_H
#define RDISK_VERBS_CONN_PARAM_H

#include "transport/verbs/verbs.h"

/*
 * Time without an acknowledgement before a packet is sent again: 4.096 us *
 * 2^17 is half a second, and when seven attempts have failed the connection is
 * lost. InfiniBand Architecture Specification, volume 1, "local ACK timeout".
 * Not 7 retries, which rxe takes for no limit (rxe_completer, "retry_cnt !=
 * 7"). A server's queue pair has the values that the client requested.
 */
#define RDISK_ACK_TIMEOUT 17
#define RDISK_RETRY_COUNT 6
/*
 * Slots are credits, so a receive is always posted before its message comes.
 * The few retries only cover a peer that breaks that rule.
 */
#define RDISK_RNR_RETRY_COUNT 3

static inline struct rdma_conn_param rdisk_conn_param(const void *data,
                                                      uint8_t size)
{
    return (struct rdma_conn_param) {
        .private_data = data,
        .private_data_len = size,
        /* No RDMA READ in either direction, but for resident volumes. */
        .responder_resources = 0,
        .initiator_depth = 0,
        .retry_count = RDISK_RETRY_COUNT,
        .rnr_retry_count = RDISK_RNR_RETRY_COUNT,
    };
}

#endif
