/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the transport: memory regions, each of which pins its pages.
 * What the process has registered is counted, for the one message that people
 * need when the limit on locked memory is too low.
 */
#ifndef RDISK_VERBS_MR_H
#define RDISK_VERBS_MR_H

#include <rdisk/error.h>
#include "transport/verbs/verbs.h"

/*
 * Register for local use, and for @access too. NULL: @err has the reason; if it
 * is RLIMIT_MEMLOCK, with the bytes needed and the remedy.
 * Any thread.
 */
struct ibv_mr *rdisk_mr_register(const struct rdisk_verbs *verbs,
                                 struct ibv_pd *pd, void *address,
                                 size_t length, int access,
                                 struct rdisk_error *err);
/*
 * Register memory that nobody writes to, which may be mapped read-only: a peer
 * may read it, and the device may send from it. The same in all else.
 */
struct ibv_mr *rdisk_mr_register_constant(const struct rdisk_verbs *verbs,
                                          struct ibv_pd *pd,
                                          const void *address, size_t length,
                                          struct rdisk_error *err);
/* NULL is allowed. */
void rdisk_mr_deregister(const struct rdisk_verbs *verbs, struct ibv_mr *mr);

#endif
