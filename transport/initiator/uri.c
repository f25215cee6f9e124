/* SPDX-License-Identifier: BSD-3-Clause */
#include <rdisk/uri.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/initiator/servers.h"

#define SCHEME "rdma://"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-decode @length bytes of @from into @to, a string. */
static int decode(char *to, size_t to_size, const char *from, size_t length,
                  const char *what, struct rdisk_error *err)
{
    size_t n = 0;

    for (size_t i = 0; i < length; i++) {
        char c = from[i];

        if (c == '%') {
            bool whole = i + 2 < length;
            int high = whole ? hex_digit(from[i + 1]) : -1;
            int low = whole ? hex_digit(from[i + 2]) : -1;

            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                return rdisk_error_set(err, -EINVAL,
                                       "%s has a bad percent-escape at '%.*s'",
                                       what, (int)(length - i), from + i);
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (n + 1 >= to_size) {
            return rdisk_error_set(err, -EINVAL, "%s is longer than %zu bytes",
                                   what, to_size - 1);
        }
        to[n++] = c;
    }
    to[n] = '\0';
    return 0;
}

static int parse_port(uint16_t *to, const char *text, size_t length,
                      struct rdisk_error *err)
{
    unsigned long port = 0;

    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || i > 4) {
            port = 0;
            break;
        }
        port = port * 10 + (unsigned long)(text[i] - '0');
    }
    if (port < 1 || port > 65535) {
        return rdisk_error_set(err, -EINVAL,
                               "port '%.*s' is not a number in 1…65535",
                               (int)length, text);
    }
    *to = (uint16_t)port;
    return 0;
}

/* host, host:port, [address] or [address]:port */
static int parse_server(char name[256], uint16_t *to, const char *text,
                        size_t length, struct rdisk_error *err)
{
    const char *end = text + length;
    const char *host = text;
    const char *host_end;
    const char *user = memchr(text, '@', length);
    const char *port;
    int ret;

    if (user) {
        return rdisk_error_set(err, -EINVAL,
                               "the URI names a user, '%.*s', before its host; "
                               "the user is an option: user= of QEMU's driver, "
                               "--user of rdisk",
                               (int)strcspn(text, ":@"), text);
    }
    if (length && *text == '[') {
        host_end = memchr(text, ']', length);
        if (!host_end) {
            return rdisk_error_set(err, -EINVAL, "'%.*s' has no ']'",
                                   (int)length, text);
        }
        host++;
        port = host_end + 1;
        if (port < end && *port != ':') {
            return rdisk_error_set(err, -EINVAL,
                                   "'%.*s' after the ']' is not a port",
                                   (int)(end - port), port);
        }
    } else {
        host_end = memchr(text, ':', length);
        if (!host_end) {
            host_end = end;
        }
        port = host_end;
    }
    if (host == host_end) {
        return rdisk_error_set(
            err, -EINVAL,
            "the URI names no host; write rdma://host[:port]/volume");
    }
    ret = decode(name, 256, host, (size_t)(host_end - host), "the host name",
                 err);
    if (ret < 0 || port == end) {
        return ret;
    }
    return parse_port(to, port + 1, (size_t)(end - port - 1), err);
}

int rdisk_server_parse(const char *text, size_t length, char host[256],
                       uint16_t *port, const char **rest,
                       struct rdisk_error *err)
{
    const char *comma = memchr(text, ',', length);

    *port = RDISK_DEFAULT_PORT;
    *rest = comma ? comma + 1 : NULL;
    return parse_server(host, port, text,
                        comma ? (size_t)(comma - text) : length, err);
}

/* The first, and those behind it, which are only checked. */
static int parse_authority(struct rdisk_uri *uri, const char *text,
                           size_t length, struct rdisk_error *err)
{
    struct rdisk_initiator_options options = { .servers = uri->servers };
    const char *rest;
    int ret = rdisk_server_parse(text, length, uri->host, &uri->port, &rest,
                                 err);

    if (ret < 0 || !rest) {
        return ret;
    }
    length -= (size_t)(rest - text);
    if (!length) {
        return rdisk_error_set(err, -EINVAL,
                               "the URI names no server after the last comma");
    }
    if (length >= sizeof(uri->servers)) {
        return rdisk_error_set(err, -EINVAL,
                               "the names of the servers are longer than %zu "
                               "bytes",
                               sizeof(uri->servers) - 1);
    }
    memcpy(uri->servers, rest, length);
    return rdisk_servers_check(&options, err);
}

static int parse_query(const char *query, rdisk_uri_option_fn *option,
                       void *opaque, struct rdisk_error *err)
{
    while (*query) {
        char name[64], value[256];
        size_t length = strcspn(query, "&");
        const char *equals = memchr(query, '=', length);
        int ret;

        if (!equals) {
            return rdisk_error_set(err, -EINVAL, "option '%.*s' has no value",
                                   (int)length, query);
        }
        ret = decode(name, sizeof(name), query, (size_t)(equals - query),
                     "an option's name", err);
        if (ret == 0) {
            ret = decode(value, sizeof(value), equals + 1,
                         (size_t)(query + length - equals - 1),
                         "an option's value", err);
        }
        if (ret == 0) {
            ret = option(opaque, name, value, err);
        }
        if (ret < 0) {
            return ret;
        }
        query += length + (query[length] == '&');
    }
    return 0;
}

/* The query, with which the URI ends. */
static int parse_end(const char *query, rdisk_uri_option_fn *option,
                     void *opaque, struct rdisk_error *err)
{
    if (*query != '?') {
        return 0;
    }
    if (!option) {
        return rdisk_error_set(err, -EINVAL,
                               "options '%.100s' are not allowed here", query);
    }
    return parse_query(query + 1, option, opaque, err);
}

/* All but the query, which *@query is; the volume's name may be empty. */
static int parse_place(const char *text, struct rdisk_uri *uri,
                       const char **query, struct rdisk_error *err)
{
    const char *authority, *path;
    int ret;

    memset(uri, 0, sizeof(*uri));
    if (strncmp(text, SCHEME, strlen(SCHEME))) {
        return rdisk_error_set(err, -EINVAL,
                               "'%.200s' does not start with " SCHEME, text);
    }
    authority = text + strlen(SCHEME);
    path = authority + strcspn(authority, "/?#");
    ret = parse_authority(uri, authority, (size_t)(path - authority), err);
    if (ret < 0) {
        return ret;
    }
    if (*path == '/') {
        path++;
    }
    *query = path + strcspn(path, "?#");
    if (**query == '#') {
        return rdisk_error_set(err, -EINVAL, "the URI has a fragment '%.100s'",
                               *query);
    }
    return decode(uri->volume, sizeof(uri->volume), path,
                  (size_t)(*query - path), "the volume's name", err);
}

int rdisk_uri_parse(const char *text, struct rdisk_uri *uri,
                    rdisk_uri_option_fn *option, void *opaque,
                    struct rdisk_error *err)
{
    const char *query;
    int ret = parse_place(text, uri, &query, err);

    if (ret < 0) {
        return ret;
    }
    if (!uri->volume[0]) {
        return rdisk_error_set(
            err, -EINVAL,
            "the URI names no volume; write rdma://host[:port]/volume");
    }
    ret = rdisk_volume_name_check(uri->volume, strlen(uri->volume), err);
    return ret < 0 ? ret : parse_end(query, option, opaque, err);
}

int rdisk_uri_parse_server(const char *text, struct rdisk_uri *uri,
                           rdisk_uri_option_fn *option, void *opaque,
                           struct rdisk_error *err)
{
    const char *query;
    int ret = parse_place(text, uri, &query, err);

    if (ret < 0) {
        return ret;
    }
    if (uri->volume[0]) {
        return rdisk_error_set(
            err, -EINVAL,
            "the URI names a volume, '%.128s'; write rdma://host[:port]/",
            uri->volume);
    }
    return parse_end(query, option, opaque, err);
}
