/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/name.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Of a thread: some of the resolver's modules keep whole packets on theirs. */
#define STACK_SIZE (512u << 10)

struct query {
    struct rdisk_name_query query; /* first */
    atomic_uint users;             /* the caller, and the thread */
    uint16_t port;
    char *host;

    /* The thread's until the answer has arrived, the caller's from then on. */
    struct rdisk_addresses addresses;
    int result; /* of getaddrinfo() */
    int code;   /* errno of EAI_SYSTEM */
    atomic_bool answered;
};

static_assert(offsetof(struct query, query) == 0,
              "a query is converted to its whole");

static atomic_uint queries;

static void release(struct query *query)
{
    if (atomic_fetch_sub(&query->users, 1) == 1) {
        close(query->query.fd);
        free(query->host);
        free(query);
        atomic_fetch_sub(&queries, 1);
    }
}

static void *resolve(void *opaque)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct query *query = opaque;
    struct addrinfo *found;
    uint64_t one = 1;

    query->result = getaddrinfo(query->host, NULL, &hints, &found);
    query->code = errno;
    if (query->result == 0) {
        rdisk_addresses_add(&query->addresses, found, query->port);
        freeaddrinfo(found);
    }
    atomic_store(&query->answered, true);
    /* A new eventfd has room for this; its user has a time limit anyway. */
    (void)!write(query->query.fd, &one, sizeof(one));
    release(query);
    return NULL;
}

/* 0 or an errno. */
static int start(struct query *query)
{
    pthread_attr_t attributes;
    sigset_t all, old;
    pthread_t thread;
    int ret = pthread_attr_init(&attributes);

    if (ret) {
        return ret;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    /* Signals are for the program's own threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(&thread, &attributes, resolve, query);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return ret;
}

static struct query *allocate(const char *host, uint16_t port)
{
    struct query *query = calloc(1, sizeof(*query));

    if (!query) {
        return NULL;
    }
    query->query.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    query->port = port;
    query->host = strdup(host);
    atomic_init(&query->users, 2);
    if (query->query.fd >= 0 && query->host) {
        return query;
    }
    if (query->query.fd >= 0) {
        close(query->query.fd);
    }
    free(query->host);
    free(query);
    return NULL;
}

struct rdisk_name_query *rdisk_name_query(const char *host, uint16_t port)
{
    struct query *query;
    int ret;

    if (atomic_fetch_add(&queries, 1) >= RDISK_NAME_QUERIES_MAX) {
        atomic_fetch_sub(&queries, 1);
        errno = EAGAIN;
        return NULL;
    }
    query = allocate(host, port);
    if (!query) {
        atomic_fetch_sub(&queries, 1);
        errno = errno ? errno : ENOMEM;
        return NULL;
    }
    ret = start(query);
    if (ret) {
        release(query);
        release(query);
        errno = ret;
        return NULL;
    }
    return &query->query;
}

int rdisk_name_answer(struct rdisk_name_query *name,
                      struct rdisk_addresses *addresses, const char **why)
{
    struct query *query = (struct query *)name;

    if (!atomic_load(&query->answered)) {
        return -EAGAIN;
    }
    if (query->result) {
        *why = query->result == EAI_SYSTEM ? strerror(query->code)
                                           : gai_strerror(query->result);
        return -ENOENT;
    }
    if (!query->addresses.count) {
        *why = "it has no IPv4 or IPv6 address";
        return -ENOENT;
    }
    *addresses = query->addresses;
    return 0;
}

void rdisk_name_end(struct rdisk_name_query *name)
{
    release((struct query *)name);
}
