/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma://host[:port]/volume[?option=value[&…]] */
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
/* The same of rdma://host[:port][/][?option=value[&…]]: a server; @uri's volume
 * is "". */
int rdisk_uri_parse_server(const char *text, struct rdisk_uri *uri,
                           rdisk_uri_option_fn *option, void *opaque,
                           struct rdisk_error *err);

#ifdef __cplusplus
}
#endif

#endif
