/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/throttled.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/thread.h"
#include "server/server.h"
#include "server/session/session.h"

#define WHAT_TEXT (RDISK_VOLUME_NAME_MAX + 16)

static struct throttled *find(const struct server *server, bool client,
                              const char *name)
{
    struct throttled *throttled = server->throttled;

    while (throttled && (throttled->client != client ||
                         strcmp(throttled->name, name) != 0)) {
        throttled = throttled->next;
    }
    return throttled;
}

const struct throttled *throttled_find(const struct server *server, bool client,
                                       const char *name)
{
    assert_control_thread();
    return find(server, client, name);
}

struct throttle_values throttled_configured(const struct server *server,
                                            bool client, const char *name)
{
    const struct throttle_values none = { 0 };
    const struct access_client *section;

    if (!client) {
        return throttle_sections_find(server->config->throttles, name);
    }
    section = access_find(server->config->clients, name);
    return section ? section->throttle : none;
}

static void set(struct throttled *throttled,
                const struct throttle_values *values, bool commanded)
{
    throttled->commanded = commanded;
    if (memcmp(&throttled->values, values, sizeof(*values)) != 0) {
        throttled->values = *values;
        throttle_set(&throttled->throttle, values);
    }
}

static void set_configured(struct server *server, struct throttled *throttled)
{
    struct throttle_values values = throttled_configured(server,
                                                         throttled->client,
                                                         throttled->name);

    set(throttled, &values, false);
}

/* ---- Coming and going ---------------------------------------------------- */

static struct throttled *make(struct server *server, bool client,
                              const char *name)
{
    struct throttled *throttled = calloc(1, sizeof(*throttled));

    if (throttled) {
        throttled->client = client;
        snprintf(throttled->name, sizeof(throttled->name), "%s", name);
        set_configured(server, throttled);
        throttled->next = server->throttled;
        server->throttled = throttled;
    }
    return throttled;
}

/* What has counted stays: counters do not go back. */
static void free_unused(struct server *server, struct throttled *throttled)
{
    struct throttled **link = &server->throttled;

    if (throttled->sessions || throttled->commanded ||
        atomic_load(&throttled->throttle.requests)) {
        return;
    }
    while (*link != throttled) {
        link = &(*link)->next;
    }
    *link = throttled->next;
    free(throttled);
}

struct throttled *throttled_get(struct server *server, bool client,
                                const char *name)
{
    struct throttled *throttled = find(server, client, name);

    assert_control_thread();
    if (!throttled) {
        throttled = make(server, client, name);
    }
    if (throttled) {
        throttled->sessions++;
    }
    return throttled;
}

void throttled_put(struct server *server, struct throttled *throttled)
{
    assert_control_thread();
    if (throttled) {
        throttled->sessions--;
        free_unused(server, throttled);
    }
}

/* ---- Changes ------------------------------------------------------------- */

int throttled_command(struct server *server, bool client, const char *name,
                      const char *text, struct rdisk_error *err)
{
    bool configured = strcmp(text, "configured") == 0;
    struct throttled *throttled = find(server, client, name);
    char what[WHAT_TEXT];
    struct throttle_values values;

    assert_control_thread();
    snprintf(what, sizeof(what), "%s '%s'", client ? "client" : "volume", name);
    if (!configured && throttle_values_parse(&values, what, text, err) < 0) {
        return -EINVAL;
    }
    if (!throttled && !(throttled = make(server, client, name))) {
        return rdisk_error_set(err, -ENOMEM, "no memory for limits of %s",
                               what);
    }
    if (configured) {
        set_configured(server, throttled);
    } else {
        set(throttled, &values, true);
    }
    log_info("limits of %s: %s", what, text);
    free_unused(server, throttled);
    session_end_unlimited(server);
    return 0;
}

void throttled_reload(struct server *server)
{
    struct throttled *throttled = server->throttled, *next;

    assert_control_thread();
    for (; throttled; throttled = next) {
        next = throttled->next;
        set_configured(server, throttled);
        free_unused(server, throttled);
    }
    session_end_unlimited(server);
}

void throttled_free(struct server *server)
{
    while (server->throttled) {
        struct throttled *throttled = server->throttled;

        server->throttled = throttled->next;
        free(throttled);
    }
}
