/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/reload.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/control_server.h"
#include "common/log.h"
#include "common/notify.h"
#include "common/thread.h"
#include "server/config/command_line.h"
#include "server/config/limits.h"
#include "server/server.h"
#include "server/session/session.h"
#include "server/session/throttled.h"

struct reload {
    struct job job;
    struct server *server;
    struct control_call *call; /* NULL: a signal, or answered */
    uint64_t deadline;
    bool late; /* it was given up: what it has read does not count */

    /* The job's, until it is done. */
    struct config config;
    struct rdisk_error err;
    int result;
};

static void read_run(struct job *job)
{
    struct reload *reload = container_of(job, struct reload, job);

    reload->result = options_read(reload->server->line, &reload->config,
                                  &reload->err);
}

/* ---- What has changed --------------------------------------------------- */

#define SECTIONS "[volume] sections"

/* Names of options, ", " between them. */
static void name_options(char *text, size_t size, unsigned int set,
                         bool volumes)
{
    const char *name, *argument, *help;
    size_t length = 0;

    text[0] = '\0';
    for (unsigned int i = 0; (name = config_option(i, &argument, &help)); i++) {
        if (set & 1u << i && length < size) {
            length += (size_t)snprintf(text + length, size - length, "%s%s",
                                       length ? ", " : "", name);
        }
    }
    if (volumes && length < size) {
        snprintf(text + length, size - length, "%s%s", length ? ", " : "",
                 SECTIONS);
    }
}

static void add_options(struct json_object *reply, const char *key,
                        unsigned int set, bool volumes)
{
    struct json_object *array = json_object_new_array();
    const char *name, *argument, *help;

    for (unsigned int i = 0; (name = config_option(i, &argument, &help)); i++) {
        if (set & 1u << i) {
            json_object_array_add(array, json_object_new_string(name));
        }
    }
    if (volumes) {
        json_object_array_add(array, json_object_new_string(SECTIONS));
    }
    json_object_object_add(reply, key, array);
}

static unsigned int count_clients(const struct config *config)
{
    unsigned int count = 0;

    for (const struct access_client *client = config->clients; client;
         client = client->next) {
        count++;
    }
    return count;
}

static void log_changes(const struct config_change *change,
                        unsigned int clients, unsigned int ended)
{
    char names[512];

    name_options(names, sizeof(names), change->applied, false);
    log_info("configuration reloaded: %u clients, %u sessions ended, changed "
             "options: %s",
             clients, ended, names[0] ? names : "none");
    if (change->pending || change->volumes_pending) {
        name_options(names, sizeof(names), change->pending,
                     change->volumes_pending);
        log_warning("changed, but not applied until rdiskd is restarted: %s",
                    names);
    }
}

static char *format_reply(const struct config_change *change,
                          unsigned int clients, unsigned int ended)
{
    struct json_object *reply = json_object_new_object();
    char *text;

    json_object_object_add(reply, "clients", json_object_new_int64(clients));
    json_object_object_add(reply, "sessions_ended",
                           json_object_new_int64(ended));
    add_options(reply, "changed", change->applied, false);
    add_options(reply, "restart", change->pending, change->volumes_pending);
    text = strdup(
        json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN));
    json_object_put(reply);
    return text;
}

/* ---- The end ------------------------------------------------------------ */

static void answer(struct reload *reload, char *text)
{
    if (reload->call) {
        control_answer(reload->call, text);
        reload->call = NULL;
    } else {
        free(text);
    }
}

/* @err: nothing has changed. */
static void fail(struct reload *reload, const struct rdisk_error *err)
{
    log_error("configuration not reloaded, nothing is changed: %s", err->text);
    answer(reload, control_error(err));
}

static void apply(struct reload *reload)
{
    struct server *server = reload->server;
    struct rdisk_target_options options;
    struct config_change change;
    unsigned int clients, ended;

    config_target_options(&reload->config, &options);
    /* It may refuse, so it comes before anything is changed. */
    if (rdisk_target_set_limits(server->target, &options, &reload->err) < 0) {
        fail(reload, &reload->err);
        return;
    }
    config_adopt(server->config, &reload->config, &change);
    log_set_level(server->config->log_level);
    server->lockable = placement_raise_limits(server->config->max_memory);
    jobs_set_slow(server->jobs, config_slow_job(server->config));
    pool_set_lease_time(&server->pool, server->config->lease_time * RDISK_MSEC);
    throttled_reload(server);
    ended = session_end_withdrawn(server);
    clients = count_clients(server->config);
    log_changes(&change, clients, ended);
    answer(reload, format_reply(&change, clients, ended));
}

static void reload_free(struct reload *reload)
{
    config_free(&reload->config);
    free(reload);
}

static void read_done(struct job *job)
{
    struct reload *reload = container_of(job, struct reload, job);
    struct server *server = reload->server;

    server->reload = NULL;
    if (reload->late) {
        log_warning("the configuration could be read after all, too late: it "
                    "is not applied; reload it again");
    } else if (reload->result < 0) {
        fail(reload, &reload->err);
    } else {
        apply(reload);
    }
    if (!server->stopping) {
        server_notify_ready(server);
    }
    reload_free(reload);
    reload_begin_wanted(server);
}

uint64_t reload_deadline(const struct server *server)
{
    const struct reload *reload = server->reload;

    return reload && !reload->late ? reload->deadline : RDISK_NEVER;
}

void reload_check_time(struct server *server, uint64_t now)
{
    struct reload *reload = server->reload;
    struct rdisk_error err;

    if (now < reload_deadline(server)) {
        return;
    }
    rdisk_error_set(&err, -ETIMEDOUT,
                    "the configuration could not be read within %g seconds "
                    "(storage-timeout)",
                    server->config->storage_timeout / 1000.0);
    reload->late = true;
    fail(reload, &err);
    server_notify_ready(server);
}

/* ---- The begin ---------------------------------------------------------- */

/* Takes @call over, unless it returns an error. */
static int begin(struct server *server, struct control_call *call,
                 struct rdisk_error *err)
{
    struct reload *reload;
    int result;

    if (server->stopping) {
        return rdisk_error_set(err, -ESHUTDOWN, "the server is stopping");
    }
    if (server->reload) {
        return rdisk_error_set(err, -EBUSY,
                               "the configuration is being read already");
    }
    reload = calloc(1, sizeof(*reload));
    if (!reload || config_init(&reload->config) < 0) {
        free(reload);
        return rdisk_error_set(err, -ENOMEM, "no memory for a reload");
    }
    reload->job = (struct job) {
        .what = "reading",
        .volume = "the configuration",
        .store = server->line,
        .run = read_run,
        .done = read_done,
    };
    reload->server = server;
    reload->call = call;
    reload->deadline = rdisk_now(server->env) +
                       server->config->storage_timeout * RDISK_MSEC;
    result = jobs_submit(server->jobs, &reload->job, err);
    if (result < 0) {
        reload_free(reload);
        return result;
    }
    server->reload = reload;
    notify_service(server->env, NOTIFY_RELOADING,
                   "reloading the configuration");
    return 0;
}

void reload_begin_wanted(struct server *server)
{
    struct rdisk_error err;

    assert_control_thread();
    if (!server->reload_wanted || !server->running || server->reload ||
        server->stopping) {
        return;
    }
    server->reload_wanted = false;
    if (begin(server, NULL, &err) < 0) {
        log_error("configuration not reloaded, nothing is changed: %s",
                  err.text);
    }
}

void reload_wanted(struct server *server)
{
    log_info("SIGHUP: reloading the configuration");
    server->reload_wanted = true;
    reload_begin_wanted(server);
}

void reload_ask(struct server *server, struct control_call *call)
{
    struct rdisk_error err;

    assert_control_thread();
    if (begin(server, call, &err) < 0) {
        control_answer(call, control_error(&err));
    }
}
