/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "server/admin/command.h"
#include "server/admin/socket.h"
#include "server/log.h"
#include "server/session/session.h"
#include "server/volume/lock.h"

#define server_of(pointer, member) \
    ((struct server *)((char *)(pointer)-offsetof(struct server, member)))

char *server_address(const struct server *server, char *text, size_t size)
{
    const char *listen = server->config->listen;

    snprintf(text, size, strchr(listen, ':') ? "[%s]:%" PRIu64 : "%s:%" PRIu64,
             listen[0] ? listen : "*", server->config->port);
    return text;
}

/* ---- Events of the control thread ------------------------------------- */

static void target_ready(struct loop_source *source, uint32_t events)
{
    rdisk_target_process(server_of(source, target_source)->target);
}

static void mailbox_ready(struct loop_source *source, uint32_t events)
{
    mailbox_run(&server_of(source, mailbox_source)->mailbox);
}

static void signal_ready(struct loop_source *source, uint32_t events)
{
    struct server *server = server_of(source, signal_source);
    struct signalfd_siginfo info;
    const char *name;

    if (read(server->signal_fd, &info, sizeof(info)) != sizeof(info)) {
        return;
    }
    name = sigabbrev_np(info.ssi_signo);
    if (info.ssi_signo == SIGHUP) {
        log_warning("SIGHUP ignored: the configuration is read at the start "
                    "only; restart rdiskd to change it");
        return;
    }
    if (server->stopping) {
        log_error("SIG%s again: ending at once, %u sessions with their "
                  "requests are cut",
                  name, rdisk_target_sessions(server->target));
        _exit(1);
    }
    log_info("SIG%s: stopping; requests already taken are finished first",
             name);
    server->stopping = true;
    server->stop_deadline = rdisk_now(server->env) +
                            server->config->stop_timeout * RDISK_MSEC;
    rdisk_target_stop(server->target, "the server is shutting down");
}

static int loop_timeout(const struct server *server)
{
    uint64_t deadline = rdisk_target_deadline(server->target);
    uint64_t now = rdisk_now(server->env), left;

    if (server->stopping && server->stop_deadline < deadline) {
        deadline = server->stop_deadline;
    }
    if (control_deadline(server->control) < deadline) {
        deadline = control_deadline(server->control);
    }
    if (deadline == RDISK_NEVER) {
        return -1;
    }
    /* Rounded up: a turn too early would only come to nothing. */
    left = deadline > now ? (deadline - now + RDISK_MSEC - 1) / RDISK_MSEC : 0;
    return left < INT_MAX ? (int)left : INT_MAX;
}

int server_run(struct server *server)
{
    while (!server->stopping || rdisk_target_sessions(server->target)) {
        uint64_t now;

        loop_turn(&server->loop, loop_timeout(server));
        now = rdisk_now(server->env);
        if (now >= rdisk_target_deadline(server->target)) {
            rdisk_target_process(server->target);
        }
        control_look(server->control, now);
        if (server->stopping && now >= server->stop_deadline) {
            log_error("%u sessions have not ended within stop-timeout, "
                      "%" PRIu64 " ms: ending without them",
                      rdisk_target_sessions(server->target),
                      server->config->stop_timeout);
            for (struct session *session = server->sessions; session;
                 session = session->next) {
                log_error("left: %s on volume '%s'", session->holder.peer,
                          session->holder.volume->name);
            }
            return -ETIMEDOUT;
        }
    }
    log_info("stopped");
    return 0;
}

/* ---- Start ------------------------------------------------------------ */

static int watch(struct server *server, int fd, struct loop_source *source,
                 void (*ready)(struct loop_source *source, uint32_t events),
                 struct rdisk_error *err)
{
    int result;

    source->ready = ready;
    result = loop_add(&server->loop, fd, EPOLLIN, source);
    return result < 0 ? rdisk_error_set(err, result,
                                        "cannot watch a "
                                        "descriptor: %s",
                                        strerror(-result))
                      : 0;
}

static int start_loop(struct server *server, struct rdisk_error *err)
{
    sigset_t signals;
    int result;

    result = loop_init(&server->loop);
    if (result < 0) {
        return rdisk_error_set(err, result, "cannot create an epoll: %s",
                               strerror(-result));
    }
    result = mailbox_init(&server->mailbox);
    if (result < 0) {
        loop_destroy(&server->loop);
        return rdisk_error_set(err, result, "cannot create an eventfd: %s",
                               strerror(-result));
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    server->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server->signal_fd < 0) {
        result = -errno;
        mailbox_destroy(&server->mailbox);
        loop_destroy(&server->loop);
        return rdisk_error_set(err, result, "cannot create a signalfd: %s",
                               strerror(-result));
    }
    return 0;
}

static int start_watching(struct server *server, struct rdisk_error *err)
{
    int result = watch(server, server->mailbox.fd, &server->mailbox_source,
                       mailbox_ready, err);

    return result < 0 ? result
                      : watch(server, server->signal_fd, &server->signal_source,
                              signal_ready, err);
}

static int start_leases(struct server *server, struct rdisk_error *err)
{
    const struct config *config = server->config;

    if (records_init(&server->records, config->state, config->pool) < 0) {
        return rdisk_error_set(err, -ENOMEM, "no memory for leases");
    }
    server->pool.records = &server->records;
    server->pool.lease_time = config->lease_time * RDISK_MSEC;
    server->pool.started = server->started;
    return 0;
}

/* If somebody may write to something that stays, now is the time to tell. */
static int prepare_records(struct server *server, struct rdisk_error *err)
{
    int result = 0;
    bool needed = server->config->pool[0];

    for (const struct config_volume *volume = server->config->volumes; volume;
         volume = volume->next) {
        needed |= volume->backend == &backend_file && !volume->read_only;
    }
    if (needed) {
        result = records_prepare(&server->records, LOCK_WAIT_MS, err);
    }
    if (result == -EBUSY || result == 0) {
        return result;
    }
    log_warning("nobody can write to volumes that are files: %s", err->text);
    return 0;
}

static int start_volumes(struct server *server, struct rdisk_error *err)
{
    int result = pool_init(&server->pool, server->config->pool, LOCK_WAIT_MS,
                           err);

    server->pool.polling = server->config->polling;
    if (result == 0) {
        result = start_leases(server, err);
    }
    for (const struct config_volume *volume = server->config->volumes;
         volume && result == 0; volume = volume->next) {
        struct backend_spec spec = {
            .volume = volume->name,
            .path = volume->path,
            .directory = AT_FDCWD,
            .size = volume->size,
            .read_only = volume->read_only,
            .polling = volume->polling,
        };

        result = pool_configure(&server->pool, volume->backend, &spec, err);
    }
    return result < 0 ? result : prepare_records(server, err);
}

static int start_workers(struct server *server, struct rdisk_error *err)
{
    const struct placement *placement = &server->placement;

    server->workers = calloc(placement->cores, sizeof(server->workers[0]));
    if (!server->workers) {
        return rdisk_error_set(err, -ENOMEM, "no memory for reactors");
    }
    for (unsigned int i = 0; i < placement->cores; i++) {
        server->workers[i].reactor = reactor_create(
            i, placement->core[i], server->config->poll_time * 1000, err);
        if (!server->workers[i].reactor) {
            return err->code;
        }
        server->workers[i].group = rdisk_target_group_create(
            server->env, (unsigned int)server->config->cq_entries, i);
        if (!server->workers[i].group) {
            return rdisk_error_set(err, -ENOMEM, "no memory for reactors");
        }
    }
    return 0;
}

static int start_target(struct server *server, struct rdisk_error *err)
{
    const struct config *config = server->config;
    struct rdisk_target_options options;

    rdisk_target_options_init(&options);
    options.address = config->listen;
    options.port = config->port;
    options.max_sessions = config->max_sessions;
    options.max_queues = config->max_queues;
    options.max_slots = config->max_slots;
    options.max_slot_size = config->max_slot_size;
    options.max_memory = config->max_memory;
    options.handshake_timeout_ms = config->handshake_timeout;
    options.max_silence_ms = config->max_silence;
    options.authenticate = config->authentication != ACCESS_METHOD_OPEN;
    server->target = rdisk_target_create(server->env, &options, &session_events,
                                         server, err);
    if (!server->target) {
        return err->code;
    }
    return watch(server, rdisk_target_fd(server->target),
                 &server->target_source, target_ready, err);
}

static int start_control(struct server *server, struct rdisk_error *err)
{
    if (!server->config->control[0]) {
        return 0;
    }
    server->control = control_create(&server->loop, server->config->control,
                                     command_run, server, err);
    return server->control ? 0 : err->code;
}

int server_start(struct server *server, const struct config *config,
                 struct rdisk_error *err)
{
    int result;

    *server = (struct server) {
        .config = config,
        .env = log_env_init(),
        .pool = { .directory = -1, .lock = -1 },
        .records = { .directory = -1, .lock = -1 },
    };
    server->started = rdisk_now(server->env);
    result = placement_choose(&server->placement, config->listen, config->cores,
                              config->core_list, err);
    if (result < 0) {
        return result;
    }
    placement_raise_limits(config->max_memory);
    placement_apply(&server->placement);
    result = start_loop(server, err);
    if (result < 0) {
        return result;
    }
    result = start_watching(server, err);
    if (result == 0) {
        result = start_volumes(server, err);
    }
    if (result == 0) {
        result = start_workers(server, err);
    }
    if (result == 0) {
        result = start_target(server, err);
    }
    if (result == 0) {
        result = start_control(server, err);
    }
    if (result < 0) {
        server_free(server);
    }
    return result;
}

void server_free(struct server *server)
{
    control_destroy(server->control);
    if (server->target) {
        if (!server->stopping) {
            rdisk_target_stop(server->target, NULL);
        }
        rdisk_target_destroy(server->target);
    }
    for (unsigned int i = 0; server->workers && i < server->placement.cores;
         i++) {
        reactor_destroy(server->workers[i].reactor);
        rdisk_target_group_destroy(server->workers[i].group);
    }
    free(server->workers);
    drain_end(&server->drain, "", NULL);
    pool_destroy(&server->pool);
    records_destroy(&server->records);
    close(server->signal_fd);
    mailbox_destroy(&server->mailbox);
    loop_destroy(&server->loop);
}
