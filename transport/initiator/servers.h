/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the initiator: the servers that have the volume, one or several.
 * They are tried in turn, from the one that served last; a round is over when
 * each of them has been tried, and only then there is a pause. Home thread.
 */
#ifndef RDISK_INITIATOR_SERVERS_H
#define RDISK_INITIATOR_SERVERS_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/verbs/address.h"
#include <rdisk/error.h>
#include <rdisk/initiator.h>

/* One of them. */
struct rdisk_host {
    char *name;
    uint16_t port;
    char *peer;                   /* for messages: "host:port" */
    bool literal;                 /* the host is an address */
    bool reported;                /* that the resolver fails */
    struct rdisk_addresses known; /* of its latest answer */
};

struct rdisk_servers {
    struct rdisk_host *list;
    unsigned int count;   /* at least 1 */
    unsigned int current; /* that is tried, or serves */
    unsigned int tried;   /* before it, in this round */
    unsigned int next;    /* the number of the one that is to be the next; 0:
                             the one that follows */
};

/*
 * The first server of @text, "host", "host:port", "[address]" or
 * "[address]:port", percent-encoded, up to a comma or the end; *@rest is behind
 * it, or NULL. 0, or -EINVAL with a sentence. uri.c.
 */
int rdisk_server_parse(const char *text, size_t length, char host[256],
                       uint16_t *port, const char **rest,
                       struct rdisk_error *err);

/* Those of @options. False: no memory, or they are invalid. */
bool rdisk_servers_init(struct rdisk_servers *servers,
                        const struct rdisk_initiator_options *options);
void rdisk_servers_free(struct rdisk_servers *servers);
/* 0, or -EINVAL with a sentence: of options->servers. */
int rdisk_servers_check(const struct rdisk_initiator_options *options,
                        struct rdisk_error *err);

static inline struct rdisk_host *rdisk_servers_host(
    const struct rdisk_servers *servers)
{
    return &servers->list[servers->current];
}

/* In this round, this one included. */
static inline unsigned int rdisk_servers_left(
    const struct rdisk_servers *servers)
{
    return servers->count - servers->tried;
}

/* The current one names that one as the next. False: it is none of them. */
bool rdisk_servers_move(struct rdisk_servers *servers, const char *host,
                        uint16_t port);
/* The current one has failed: the next. */
void rdisk_servers_turn(struct rdisk_servers *servers);
/* A connection that served is lost, with @code: where to begin. */
void rdisk_servers_restart(struct rdisk_servers *servers, int code);

#endif
