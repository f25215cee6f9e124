/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma://server[,server…]/volume[?option=value[&…]], where a server is
 * host[:port], and an IPv6 address is in brackets
 */
#ifndef RDISK_URI_H
#define RDISK_URI_H

#include <rdisk/error.h>
#include <rdisk/protocol.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rdisk_uri {
    char host[256]; /* name or address, without brackets */
    uint16_t port;  /* RDISK_DEFAULT_PORT unless given */
    char volume[RDISK_VOLUME_NAME_MAX + 1];
    /* The further servers, up to RDISK_SERVERS_MAX together with the first, as
     * they are in the URI: "b,[fe80::1]:7472"; "": none. */
    char servers[RDISK_SERVERS_TEXT];
};

/*
 * Called for each option of the query, percent-decoded. Returns 0, or a
 * negative errno with @err filled, which ends the parse.
 */
typedef int rdisk_uri_option_fn(void *opaque, const char *name,
                                const char *value, struct rdisk_error *err);

/*
 * Returns 0, or -EINVAL with a sentence that names the faulty part. With
 * @option NULL a query is refused. Thread-safe.
 */
int rdisk_uri_parse(const char *text, struct rdisk_uri *uri,
                    rdisk_uri_option_fn *option, void *opaque,
                    struct rdisk_error *err);
/* The same of rdma://server[,server…][/][?option=value[&…]]; @uri's volume is
 * "". */
int rdisk_uri_parse_server(const char *text, struct rdisk_uri *uri,
                           rdisk_uri_option_fn *option, void *opaque,
                           struct rdisk_error *err);

#ifdef __cplusplus
}
#endif

#endif
