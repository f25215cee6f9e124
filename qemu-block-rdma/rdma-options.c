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

void rdma_parse_filename(const char *filename, QDict *options, Error **errp)
{
    struct rdisk_error err = { 0 };
    struct rdisk_uri uri;
    g_autofree char *host = NULL;
    g_autofree char *port = NULL;

    if (qdict_haskey(options, "volume") ||
        qdict_haskey(options, "server.host") ||
        qdict_haskey(options, "server.port")) {
        error_setg(errp, "server and volume cannot be given together with a "
                         "file name");
        return;
    }

    if (rdisk_uri_parse(filename, &uri, rdma_uri_option, options, &err) < 0) {
        error_setg(errp, "%s", err.text);
        return;
    }

    port = g_strdup_printf("%u", uri.port);
    host = g_strdup_printf("%s%s%s", uri.host, uri.servers[0] ? "," : "",
                           uri.servers);
    qdict_put_str(options, "server.host", host);
    qdict_put_str(options, "server.port", port);
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

/*
 * "a,b:7472": behind the first server there may be more, as in a URI.  False:
 * the first one's name is too long.
 */
static bool rdma_split_servers(const char *text, char host[RDMA_HOST_SIZE],
                               const char **servers)
{
    size_t length = strcspn(text, ",");

    *servers = text[length] ? text + length + 1 : NULL;
    if (length >= RDMA_HOST_SIZE) {
        return false;
    }
    memcpy(host, text, length);
    host[length] = 0;
    return true;
}

bool rdma_convert_options(const BlockdevOptionsRdma *opts, bool read_only,
                          char host[RDMA_HOST_SIZE],
                          struct rdisk_secret *secret,
                          struct rdisk_initiator_options *o, Error **errp)
{
    unsigned int port;

    if (qemu_strtoui(opts->server->port, NULL, 10, &port) < 0 || port < 1 ||
        port > UINT16_MAX) {
        error_setg(errp, "'%s' is not a port number (1 to 65535)",
                   opts->server->port);
        return false;
    }

    rdisk_initiator_options_init(o);
    if (!rdma_split_servers(opts->server->host, host, &o->servers)) {
        error_setg(errp, "the server's name is longer than %u bytes",
                   RDMA_HOST_SIZE - 1);
        return false;
    }
    o->host = host;
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

/* As the parser decodes it; @allowed: more that need not be encoded */
static char *rdma_encode(const char *text, const char *allowed)
{
    return g_uri_escape_string(text, allowed, false);
}

char *rdma_base_uri(const BlockdevOptionsRdma *opts)
{
    const InetSocketAddressBase *server = opts->server;
    g_autofree char *first = g_strndup(server->host,
                                       strcspn(server->host, ","));
    bool ipv6 = strchr(first, ':');
    /* The zone of a link-local address begins with a '%' */
    g_autofree char *host = rdma_encode(first, ":");

    /* The further ones are as in a URI already */
    return g_strdup_printf("rdma://%s%s%s:%s%s/", ipv6 ? "[" : "", host,
                           ipv6 ? "]" : "", server->port,
                           server->host + strlen(first));
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
