/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/run.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/container_of.h"
#include "common/control_server.h"
#include "common/log.h"
#include "common/metrics_server.h"
#include "common/notify.h"
#include "common/thread.h"
#include "server/admin/listing.h"
#include "server/reload.h"
#include "server/server.h"
#include "server/session/barrier.h"
#include "server/session/copy.h"
#include "server/session/flatten.h"
#include "server/session/queue.h"
#include "server/session/session.h"
#include "server/session/throttled.h"
#include "server/volume/losses.h"
#include "transport/base/least.h"

#define server_of(pointer, member) container_of(pointer, struct server, member)

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
        reload_wanted(server);
        return;
    }
    if (server->stopping) {
        log_error("SIG%s again: exiting now, %u sessions and their requests "
                  "are aborted",
                  name,
                  server->target ? rdisk_target_sessions(server->target) : 0);
        log_flush();
        _exit(1);
    }
    log_info("SIG%s: stopping; requests already taken are finished first",
             name);
    notify_service(server->env, NOTIFY_STOPPING,
                   "stopping; requests already taken are finished first");
    server->stopping = true;
    copies_cancel(server);
    flattens_cancel(server);
    server->stop_deadline = rdisk_now(server->env) +
                            server->config->stop_timeout * RDISK_MSEC;
    if (server->target) {
        session_hurry_all(server);
        rdisk_target_stop(server->target, "the server is shutting down");
    }
}

/* ---- The loop --------------------------------------------------------- */

static int watch(struct server *server, int fd, struct loop_source *source,
                 void (*ready)(struct loop_source *source, uint32_t events),
                 struct rdisk_error *err)
{
    int result;

    source->ready = ready;
    result = loop_add(&server->loop, fd, EPOLLIN, source);
    return result < 0
               ? rdisk_error_set(err, result, "cannot watch a descriptor: %s",
                                 strerror(-result))
               : 0;
}

int server_watch_all(struct server *server, struct rdisk_error *err)
{
    int result = watch(server, server->mailbox.fd, &server->mailbox_source,
                       mailbox_ready, err);

    assert_control_thread();
    return result < 0 ? result
                      : watch(server, server->signal_fd, &server->signal_source,
                              signal_ready, err);
}

int server_watch_target(struct server *server, struct rdisk_error *err)
{
    assert_control_thread();
    return watch(server, rdisk_target_fd(server->target),
                 &server->target_source, target_ready, err);
}

static uint64_t next_deadline(const struct server *server)
{
    uint64_t deadline = rdisk_least(control_deadline(server->control),
                                    jobs_deadline(server->jobs));

    deadline = rdisk_least(deadline, operations_deadline(&server->operations));
    deadline = rdisk_least(deadline, barriers_deadline(server));
    deadline = rdisk_least(deadline, copies_deadline(server));
    deadline = rdisk_least(deadline, store_watch_deadline(server));
    deadline = rdisk_least(deadline, flattens_deadline(server));
    deadline = rdisk_least(deadline, listing_deadline(server->listing));
    deadline = rdisk_least(deadline, reload_deadline(server));

    if (server->target) {
        deadline = rdisk_least(deadline, rdisk_target_deadline(server->target));
    }
    return deadline;
}

static int timeout_until(const struct server *server, uint64_t deadline)
{
    uint64_t now = rdisk_now(server->env), left;

    if (deadline == RDISK_NEVER) {
        return -1;
    }
    /* Rounded up: a turn too early would only come to nothing. */
    left = deadline > now ? (deadline - now + RDISK_MSEC - 1) / RDISK_MSEC : 0;
    return left < INT_MAX ? (int)left : INT_MAX;
}

void server_turn(struct server *server, uint64_t until)
{
    uint64_t deadline = rdisk_least(until, next_deadline(server)), now;

    assert_control_thread();
    loop_turn(&server->loop, timeout_until(server, deadline));
    now = rdisk_now(server->env);
    if (server->target && now >= rdisk_target_deadline(server->target)) {
        rdisk_target_process(server->target);
    }
    control_check_time(server->control, now);
    jobs_check_time(server->jobs, now);
    operations_check_time(&server->operations, now);
    barriers_check_time(server, now);
    copies_check_time(server, now);
    store_watch_check_time(server, now);
    flattens_check_time(server, now);
    listing_check_time(server->listing, now);
    reload_check_time(server, now);
}

static void log_job(void *opaque, const struct job *job, uint64_t age)
{
    log_error("left: %s '%s', for %.1f seconds", job->what, job->volume,
              age / RDISK_MSEC / 1000.0);
}

/* What is left when the time to stop is over. */
static void log_left(struct server *server)
{
    log_error("%u sessions, and %u operations on volumes, have not ended "
              "within stop-timeout, %" PRIu64 " ms: ending without them",
              rdisk_target_sessions(server->target), server->operations.count,
              server->config->stop_timeout);
    for (struct session *session = server->sessions; session;
         session = session->next) {
        log_error("left: %s on volume '%s'", session->holder.peer,
                  session->holder.volume->name);
    }
    jobs_for_each(server->jobs, log_job, NULL);
}

/*
 * A thread whose storage hangs may keep the process, and with it all that it
 * has open, for as long as that lasts. So the port and the socket are released
 * first.
 */
static void abandon(struct server *server)
{
    control_destroy(server->control);
    server->control = NULL;
    metrics_server_destroy(server->metrics);
    server->metrics = NULL;
    if (!rdisk_target_sessions(server->target)) {
        rdisk_target_destroy(server->target);
        server->target = NULL;
    }
}

int server_run(struct server *server)
{
    assert_control_thread();
    server->running = true;
    reload_begin_wanted(server);
    while (!server->stopping || rdisk_target_sessions(server->target) ||
           server->operations.count || server->copies || server->flattens ||
           listing_running(server->listing) || server->lists ||
           server->reload || store_watch_is_busy(server)) {
        if (server->stopping &&
            rdisk_now(server->env) >= server->stop_deadline) {
            log_left(server);
            abandon(server);
            return -ETIMEDOUT;
        }
        server_turn(server,
                    server->stopping ? server->stop_deadline : RDISK_NEVER);
    }
    log_info("stopped");
    return 0;
}

/* ---- The end -------------------------------------------------------- */

void server_free(struct server *server)
{
    assert_control_thread();
    metrics_server_destroy(server->metrics);
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
    throttled_free(server);
    drain_end(&server->drain, "", NULL);
    pool_destroy(&server->pool);
    records_destroy(&server->records);
    losses_close();
    jobs_destroy(server->jobs);
    listing_destroy(server->listing);
    close(server->signal_fd);
    mailbox_destroy(&server->mailbox);
    loop_destroy(&server->loop);
}
