/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host names, resolved without blocking the caller.
 *
 * getaddrinfo(3) blocks as long as the resolver does, half a minute and more if
 * name servers do not answer, and cannot be aborted. So each query runs in a
 * thread of its own, with all signals blocked, that shares nothing with the
 * caller but the query itself. A caller that does not need the answer any more
 * drops its reference: the query is freed when the thread is done.
 */
#ifndef RDISK_VERBS_NAME_H
#define RDISK_VERBS_NAME_H

#include "transport/verbs/address.h"

#define RDISK_NAME_QUERIES_MAX 64u /* of the process, abandoned ones included */

/* In the hands of one thread at a time, from query_name() to name_end(). */
struct rdisk_name_query {
    int fd; /* readable when the answer has arrived */
};

/* For struct rdisk_verbs. */
struct rdisk_name_query *rdisk_name_query(const char *host, uint16_t port);
int rdisk_name_answer(struct rdisk_name_query *query,
                      struct rdisk_addresses *addresses, const char **why);
void rdisk_name_end(struct rdisk_name_query *query);

#endif
