/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The options of the block driver "rdma": URI, -blockdev, librdisk
 */

#include "qemu/osdep.h"
#include "block/qdict.h"
#include "crypto/secret.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-block-core.h"
#include "qapi/qobject-input-visitor.h"
#include "qemu/cutils.h"
#include "qobject/qdict.h"

#include <rdisk/uri.h>
#include "rdma.h"

/* Options of a URI's query; QEMU's own, like read-only, are given to QEMU */
static const char *const rdma_uri_options[] = { "user",
                                                "key-secret",
                                                "shared",
                                                "queues",
                                                "slots",
                                                "slot-size",
                                                "guest-memory",
                                                "write-acks",
                                                "bounce-size",
                                                "open-timeout",
                                                "request-timeout",
                                                "reconnect-delay",
                                                "heartbeat",
                                                NULL };

static int rdma_uri_option(void *opaque, const char *name, const char *value,
                           struct rdisk_error *err)
{
    QDict *options = opaque;

    if (!g_strv_contains(rdma_uri_options, name)) {
        g_autofree char *known = g_strjoinv(", ", (char **)rdma_uri_options);

        return rdisk_error_set(err, -EINVAL,
                               "unknown option '%s'; a URI can have %s", name,
                               known);
    }
    if (qdict_haskey(options, name)) {
        return rdisk_error_set(err, -EINVAL, "option '%s' is given twice",
                               name);
    }
    qdict_put_str(options, name, value);
    return 0;
}

/* One of @uri's servers, into server, or the list servers if @number >= 0 */
static void rdma_put_server(QDict *options, const char *host, unsigned int port,
                            int number)
{
    g_autofree char *prefix = number < 0
                                  ? g_strdup("server")
                                  : g_strdup_printf("servers.%d", number);
    g_autofree char *host_key = g_strdup_printf("%s.host", prefix);
    g_autofree char *port_key = g_strdup_printf("%s.port", prefix);
    g_autofree char *port_text = g_strdup_printf("%u", port);

    qdict_put_str(options, host_key, host);
    qdict_put_str(options, port_key, port_text);
}

/* All of them; the URI has been checked */
static void rdma_put_servers(QDict *options, const struct rdisk_uri *uri)
{
    g_auto(GStrv) further = g_strsplit(uri->servers, ",", -1);

    rdma_put_server(options, uri->host, uri->port, uri->servers[0] ? 0 : -1);
    for (int i = 0; further[i]; i++) {
        g_autofree char *text = g_strdup_printf("rdma://%s/", further[i]);
        struct rdisk_error err = { 0 };
        struct rdisk_uri one;

        if (rdisk_uri_parse_server(text, &one, NULL, NULL, &err) == 0) {
            rdma_put_server(options, one.host, one.port, i + 1);
        }
    }
}

static bool rdma_has_server(const QDict *options)
{
    const QDictEntry *e;

    for (e = qdict_first(options); e; e = qdict_next(options, e)) {
        if (g_str_has_prefix(e->key, "server")) {
            return true;
        }
    }
    return false;
}

void rdma_parse_filename(const char *filename, QDict *options, Error **errp)
{
    struct rdisk_error err = { 0 };
    struct rdisk_uri uri;

    if (qdict_haskey(options, "volume") || rdma_has_server(options)) {
        error_setg(errp, "server and volume cannot be given together with a "
                         "file name");
        return;
    }

    if (rdisk_uri_parse(filename, &uri, rdma_uri_option, options, &err) < 0) {
        error_setg(errp, "%s", err.text);
        return;
    }
    rdma_put_servers(options, &uri);
    qdict_put_str(options, "volume", uri.volume);
}

BlockdevOptionsRdma *rdma_parse_options(QDict *options, Error **errp)
{
    BlockdevOptionsRdma *opts = NULL;
    const QDictEntry *e;
    Visitor *v;

    v = qobject_input_visitor_new_flat_confused(options, errp);
    if (!v) {
        return NULL;
    }
    visit_type_BlockdevOptionsRdma(v, NULL, &opts, errp);
    visit_free(v);

    /* What the visitor has taken is no unknown option any more */
    while (opts && (e = qdict_first(options))) {
        qdict_del(options, e->key);
    }
    return opts;
}

/* Out of range for librdisk stays out of range: it has the error message */
static unsigned int rdma_seconds_to_ms(double seconds)
{
    return seconds >= 0 && seconds < UINT_MAX / 1000 ? seconds * 1000
                                                     : UINT_MAX;
}

static enum rdisk_guest_memory rdma_guest_memory(RdmaGuestMemory value)
{
    switch (value) {
    case RDMA_GUEST_MEMORY_WINDOW:
        return RDISK_GUEST_MEMORY_WINDOW;
    case RDMA_GUEST_MEMORY_BOUNCE:
        return RDISK_GUEST_MEMORY_BOUNCE;
    default:
        return RDISK_GUEST_MEMORY_DIRECT;
    }
}

static bool rdma_read_secret(const char *id, struct rdisk_secret *secret,
                             Error **errp)
{
    struct rdisk_error err = { 0 };
    uint8_t *data;
    size_t size;
    int ret;

    if (qcrypto_secret_lookup(id, &data, &size, errp) < 0) {
        return false;
    }
    ret = rdisk_secret_parse(secret, data, size, &err);
    explicit_bzero(data, size);
    g_free(data);
    if (ret < 0) {
        error_setg(errp, "key-secret '%s': %s", id, err.text);
        return false;
    }
    return true;
}

/* As the parser decodes it; @allowed: more that need not be encoded */
static char *rdma_encode(const char *text, const char *allowed)
{
    return g_uri_escape_string(text, allowed, false);
}

/* "host:port", as a URI has it */
static void rdma_append_server(GString *text,
                               const InetSocketAddressBase *server)
{
    bool ipv6 = strchr(server->host, ':');
    /* The zone of a link-local address begins with a '%' */
    g_autofree char *host = rdma_encode(server->host, ":");

    g_string_append_printf(text, "%s%s%s%s:%s", text->len ? "," : "",
                           ipv6 ? "[" : "", host, ipv6 ? "]" : "",
                           server->port);
}

const InetSocketAddressBase *rdma_server(const BlockdevOptionsRdma *opts)
{
    return opts->server ? opts->server : opts->servers->value;
}

/* Behind the first one, as in a URI; "": none */
static char *rdma_further_servers(const BlockdevOptionsRdma *opts)
{
    GString *text = g_string_new("");

    if (!opts->server) {
        for (const InetSocketAddressBaseList *e = opts->servers->next; e;
             e = e->next) {
            rdma_append_server(text, e->value);
        }
    }
    return g_string_free(text, FALSE);
}

static bool rdma_check_server(const InetSocketAddressBase *server,
                              unsigned int *port, Error **errp)
{
    if (qemu_strtoui(server->port, NULL, 10, port) < 0 || *port < 1 ||
        *port > UINT16_MAX) {
        error_setg(errp, "'%s' is not a port number (1 to 65535)",
                   server->port);
        return false;
    }
    if (strchr(server->host, ',')) {
        error_setg(errp,
                   "'%s' is not one server: several are a list, "
                   "servers.0.host and so on",
                   server->host);
        return false;
    }
    return true;
}

/* One, or several; @port is the first one's */
static bool rdma_check_servers(const BlockdevOptionsRdma *opts,
                               unsigned int *port, Error **errp)
{
    unsigned int other;

    if (!opts->server == !opts->servers) {
        error_setg(errp, "either server or servers, a list, must be given");
        return false;
    }
    for (const InetSocketAddressBaseList *e = opts->servers; e; e = e->next) {
        if (!rdma_check_server(e->value, &other, errp)) {
            return false;
        }
    }
    return rdma_check_server(rdma_server(opts), port, errp);
}

bool rdma_convert_options(const BlockdevOptionsRdma *opts, bool read_only,
                          char **servers, struct rdisk_secret *secret,
                          struct rdisk_initiator_options *o, Error **errp)
{
    unsigned int port;

    if (!rdma_check_servers(opts, &port, errp)) {
        return false;
    }

    rdisk_initiator_options_init(o);
    *servers = rdma_further_servers(opts);
    o->host = rdma_server(opts)->host;
    o->servers = *servers;
    o->port = port;
    o->volume = opts->volume;
    o->read_only = read_only;
    o->shared = opts->has_shared && opts->shared;
    o->user = opts->user;
    if (opts->key_secret) {
        if (!rdma_read_secret(opts->key_secret, secret, errp)) {
            return false;
        }
        o->secret = secret;
    }
    if (opts->has_queues) {
        o->queues = opts->queues;
    }
    if (opts->has_slots) {
        o->slots = opts->slots;
    }
    if (opts->has_slot_size) {
        o->slot_size = MIN(opts->slot_size, UINT32_MAX);
    }
    if (opts->has_guest_memory) {
        o->guest_memory = rdma_guest_memory(opts->guest_memory);
    }
    o->write_acks = opts->has_write_acks && opts->write_acks;
    if (opts->has_bounce_size) {
        o->bounce_size = MIN(opts->bounce_size, UINT32_MAX);
    }
    if (opts->has_open_timeout) {
        o->open_timeout_ms = rdma_seconds_to_ms(opts->open_timeout);
    }
    if (opts->has_request_timeout) {
        o->request_timeout_ms = rdma_seconds_to_ms(opts->request_timeout);
    }
    if (opts->has_reconnect_delay) {
        o->reconnect_delay_ms = rdma_seconds_to_ms(opts->reconnect_delay);
    }
    if (opts->has_heartbeat) {
        o->heartbeat_ms = rdma_seconds_to_ms(opts->heartbeat);
    }
    return true;
}

int64_t rdma_open_timeout_ms(const BlockdevOptionsRdma *opts)
{
    return opts->has_open_timeout ? opts->open_timeout * 1000
                                  : RDISK_DEFAULT_OPEN_TIMEOUT_MS;
}

int64_t rdma_reconnect_delay_ms(const BlockdevOptionsRdma *opts)
{
    return opts->has_reconnect_delay ? opts->reconnect_delay * 1000
                                     : RDISK_DEFAULT_RECONNECT_DELAY_MS;
}

char *rdma_base_uri(const BlockdevOptionsRdma *opts)
{
    g_autofree char *further = rdma_further_servers(opts);
    GString *text = g_string_new("");
    g_autofree char *first = NULL;

    rdma_append_server(text, rdma_server(opts));
    first = g_string_free(text, FALSE);
    return g_strdup_printf("rdma://%s%s%s/", first, further[0] ? "," : "",
                           further);
}

char *rdma_uri(const BlockdevOptionsRdma *opts)
{
    g_autofree char *base = rdma_base_uri(opts);
    g_autofree char *volume = rdma_encode(opts->volume, "+@,");
    GString *uri = g_string_new(base);
    const char *mark = "?";

    g_string_append(uri, volume);
    if (opts->user && opts->key_secret) {
        g_autofree char *user = rdma_encode(opts->user, NULL);
        g_autofree char *key_secret = rdma_encode(opts->key_secret, NULL);

        g_string_append_printf(uri, "?user=%s&key-secret=%s", user, key_secret);
        mark = "&";
    }
    if (opts->has_shared && opts->shared) {
        g_string_append_printf(uri, "%sshared=on", mark);
    }
    return g_string_free(uri, FALSE);
}
