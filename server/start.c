/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each wait, for an address or for storage, has a bound, can be ended by a
 * signal, and is named in the log.
 */
#include "server/start.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/container_of.h"
#include "common/control_server.h"
#include "common/log.h"
#include "common/metrics_server.h"
#include "common/notify.h"
#include "common/thread.h"
#include "server/admin/command.h"
#include "server/admin/listing.h"
#include "server/config/limits.h"
#include "server/run.h"
#include "server/server.h"
#include "server/session/queue.h"
#include "server/session/session.h"
#include "server/volume/lock.h"
#include "server/volume/losses.h"

/* Between two checks whether the address exists, or how far a volume is. */
#define LOOK_MS 250
/* Between two lines of the log about that. */
#define REPORT_MS 10000
/* For a server that has just been killed to release its port. */
#define PORT_WAIT_MS 5000

static int stopped(struct rdisk_error *err)
{
    return rdisk_error_set(err, -ECANCELED, "stopped by a signal");
}

/* ---- The loop --------------------------------------------------------- */

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

static int start_jobs(struct server *server, struct rdisk_error *err)
{
    server->jobs = jobs_create(&server->mailbox, server->env,
                               config_slow_job(server->config));
    operations_init(&server->operations, server->jobs);
    server->listing = listing_create(server);
    return server->jobs && server->listing
               ? 0
               : rdisk_error_set(err, -ENOMEM, "no memory for jobs");
}

/* ---- The address ------------------------------------------------------ */

/* The time limit for this condition to end. */
static uint64_t remaining_wait(const struct config *config, int code)
{
    switch (code) {
    case -ENODEV:
    case -EADDRNOTAVAIL:
        return config->listen_timeout * RDISK_MSEC;
    case -EADDRINUSE:
        return (config->listen_timeout < PORT_WAIT_MS ? config->listen_timeout
                                                      : PORT_WAIT_MS) *
               RDISK_MSEC;
    default:
        return 0;
    }
}

/* After a boot the interface, or its device, may come up after this server. */
static int await_address(struct server *server, struct rdisk_error *err)
{
    struct rdisk_target_options options;
    int reported = 0, result;

    config_target_options(server->config, &options);
    for (;;) {
        uint64_t now, wait;

        result = rdisk_target_probe(server->env, &options,
                                    server->placement.device, err);
        if (result == 0) {
            return 0;
        }
        now = rdisk_now(server->env);
        wait = remaining_wait(server->config, result);
        if (now >= server->started + wait) {
            return result;
        }
        if (reported != result) {
            reported = result;
            log_warning("%s; waiting up to %g seconds for that to change",
                        err->text, wait / RDISK_MSEC / 1000.0);
            notify_service(server->env, NOTIFY_STATUS, "waiting: %s",
                           err->text);
        }
        server_turn(server, now + LOOK_MS * RDISK_MSEC);
        if (server->stopping) {
            return stopped(err);
        }
    }
}

/* ---- Volumes ---------------------------------------------------------- */

/*
 * A part of the start that may wait for storage, in a thread. Nothing else uses
 * the server's volumes meanwhile.
 */
struct step {
    struct job job;
    struct server *server;
    const struct config_volume *volume; /* NULL: not about one */
    int (*run)(struct step *step);
    struct rdisk_error err;
    int result;
    bool done;

    _Atomic uint64_t loaded;  /* bytes, of a volume that is read whole */
    uint64_t seen;            /* of these, the last time, */
    uint64_t since, reported; /* and when that was */
};

static void step_run(struct job *job)
{
    struct step *step = container_of(job, struct step, job);
    enum thread_role role = thread_role;

    /* The control thread waits for the step, which has what is the control
     * thread's until then. */
    thread_role = THREAD_CONTROL;
    step->result = step->run(step);
    thread_role = role;
}

static void step_done(struct job *job)
{
    container_of(job, struct step, job)->done = true;
}

/* Its storage answers as long as more is read. */
static void look(struct step *step, uint64_t now)
{
    uint64_t loaded = atomic_load(&step->loaded);

    if (loaded == step->seen) {
        return;
    }
    step->seen = loaded;
    step->since = now;
    notify_service(step->server->env, NOTIFY_LOADING,
                   "reading volume '%s' into memory: %" PRIu64 " MiB so far",
                   step->job.volume, loaded >> 20);
    if (now >= step->reported + REPORT_MS * RDISK_MSEC) {
        step->reported = now;
        log_info("reading volume '%s' into memory: %" PRIu64 " MiB so far",
                 step->job.volume, loaded >> 20);
    }
}

/* On a timeout the step is left to its thread. */
static int await_step(struct step *step, struct rdisk_error *err)
{
    struct server *server = step->server;
    uint64_t now = rdisk_now(server->env);

    step->since = step->reported = now;
    for (; !step->done; now = rdisk_now(server->env)) {
        uint64_t timeout = server->config->storage_timeout * RDISK_MSEC;

        look(step, now);
        if (server->stopping) {
            return stopped(err);
        }
        if (now >= step->since + timeout) {
            return rdisk_error_set(err, -ETIMEDOUT,
                                   "%s '%s' has not ended within "
                                   "storage-timeout, %g seconds: its storage "
                                   "does not answer",
                                   step->job.what, step->job.volume,
                                   server->config->storage_timeout / 1000.0);
        }
        server_turn(server, step->job.lasts ? now + LOOK_MS * RDISK_MSEC
                                            : step->since + timeout);
    }
    if (step->result < 0 && err) {
        *err = step->err;
    }
    return step->result;
}

static int run_step(struct server *server, const char *what, const char *path,
                    const struct config_volume *volume,
                    int (*run)(struct step *step), struct rdisk_error *err)
{
    struct step *step = calloc(1, sizeof(*step));
    int result;

    if (!step) {
        return rdisk_error_set(err, -ENOMEM, "no memory for the start");
    }
    step->job = (struct job) {
        .what = what,
        .volume = volume ? volume->name : path,
        .store = volume ? (const void *)volume : &server->pool,
        .run = step_run,
        .done = step_done,
        .lasts = volume && volume->backend->loads,
    };
    step->server = server;
    step->volume = volume;
    step->run = run;
    result = jobs_submit(server->jobs, &step->job, err);
    if (result == 0) {
        result = await_step(step, err);
    }
    if (step->done || !jobs_count(server->jobs)) {
        free(step);
    }
    return result;
}

/* The class whose images are the pool; NULL: it is a directory. */
static int find_images(const struct config *config,
                       const struct backend_class **images,
                       struct rdisk_error *err)
{
    if (!config->pool[0] || strcmp(config->pool_backend, "file") == 0) {
        return 0;
    }
    *images = backend_find(config->pool_backend, err);
    return *images ? 0 : err->code;
}

/*
 * In the folder of the control socket, which one server has at a time, and
 * whose content does not outlive a boot.
 */
static int start_losses(struct server *server, struct rdisk_error *err)
{
    const char *control = server->config->control;
    struct rdisk_error why;
    char path[PATH_MAX];

    (void)err;
    if (control[0]) {
        control_make_folder(control);
        snprintf(path, sizeof(path), "%s.losses", control);
        if (losses_open(path, &why) < 0) {
            log_warning("%s", why.text);
        }
    }
    return 0;
}

static int open_pool(struct step *step)
{
    struct server *server = step->server;
    const struct config *config = server->config;
    const struct backend_class *images = NULL;
    int result = find_images(config, &images, &step->err);

    if (result == 0) {
        result = images
                     ? pool_init_images(&server->pool, images, &server->ceph,
                                        config->pool, LOCK_WAIT_MS, &step->err)
                     : pool_init(&server->pool, config->pool, LOCK_WAIT_MS,
                                 &step->err);
    }

    server->pool.polling = config->polling;
    if (result < 0) {
        return result;
    }
    if (records_init(&server->records, config->state,
                     images ? NULL : config->pool) < 0) {
        return rdisk_error_set(&step->err, -ENOMEM, "no memory for leases");
    }
    server->pool.records = &server->records;
    server->pool.lease_time = config->lease_time * RDISK_MSEC;
    server->pool.started = server->started;
    return 0;
}

static int open_volume(struct step *step)
{
    const struct config_volume *volume = step->volume;
    struct backend_spec spec = {
        .volume = volume->name,
        .path = volume->path,
        .directory = AT_FDCWD,
        .size = volume->size,
        .read_only = volume->read_only,
        .polling = volume->polling,
        .identity = volume->identity,
        .ceph = &step->server->ceph,
        .loaded = &step->loaded,
    };

    return pool_configure(&step->server->pool, volume->backend, &spec,
                          &step->err);
}

/*
 * One process at a time has the lock of the state directory on this machine: so
 * the directory identifies the server to images of a Ceph pool.
 */
static void name_server(struct server *server)
{
    char machine[40] = "-";
    FILE *file = fopen("/etc/machine-id", "re");

    if (server->records.lock >= 0) {
        if (file && fscanf(file, "%39s", machine) != 1) {
            snprintf(machine, sizeof(machine), "-");
        }
        snprintf(server->identity[0], sizeof(server->identity[0]), "%s:%s",
                 machine, server->records.path);
        snprintf(server->identity[1], sizeof(server->identity[1]),
                 "%d:%" PRIu64, getpid(), server->started);
        server->ceph.server = server->identity[0];
        server->ceph.instance = server->identity[1];
    }
    if (file) {
        fclose(file);
    }
}

/* What would prevent writing to volumes that persist is reported now. */
static int open_records(struct step *step)
{
    struct server *server = step->server;
    bool needed = server->config->pool[0];
    int result = 0;

    for (const struct config_volume *volume = server->config->volumes; volume;
         volume = volume->next) {
        needed |= volume->backend->has_path && !volume->read_only;
    }
    if (needed) {
        result = records_prepare(&server->records, LOCK_WAIT_MS, &step->err);
        name_server(server);
    }
    if (result == -EBUSY) {
        return result;
    }
    if (result < 0) {
        log_warning("volumes that are files or images cannot be written: %s",
                    step->err.text);
    }
    return 0;
}

static int count_volumes(struct step *step)
{
    step->server->volumes = pool_count(&step->server->pool);
    return 0;
}

static int start_volumes(struct server *server, struct rdisk_error *err)
{
    const struct config *config = server->config;
    int result = run_step(server, "opening the pool directory", config->pool,
                          NULL, open_pool, err);

    /* Which volume a file is may depend on its record. */
    if (result == 0) {
        result = run_step(server, "opening the state directory",
                          server->records.path, NULL, open_records, err);
    }
    for (const struct config_volume *volume = config->volumes;
         volume && result == 0; volume = volume->next) {
        result = run_step(server, "opening volume", NULL, volume, open_volume,
                          err);
    }
    return result < 0 ? result
                      : run_step(server, "listing the pool directory",
                                 config->pool, NULL, count_volumes, err);
}

/* ---- The rest --------------------------------------------------------- */

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

static int start_placement(struct server *server, struct rdisk_error *err)
{
    const struct config *config = server->config;
    int result = placement_choose(&server->placement, config->cores,
                                  config->core_list, err);

    if (result == 0) {
        server->lockable = placement_raise_limits(config->max_memory);
        placement_apply(&server->placement);
    }
    return result;
}

static int start_target(struct server *server, struct rdisk_error *err)
{
    struct rdisk_target_options options;

    config_target_options(server->config, &options);
    server->target = rdisk_target_create(server->env, &options, &session_events,
                                         server, err);
    return server->target ? server_watch_target(server, err) : err->code;
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

static void stat_answered(void *opaque, struct json_object *reply)
{
    metrics_answer(opaque, reply);
}

static void stat_wanted(void *opaque, struct metrics_query *query)
{
    listing_ask_stat(opaque, stat_answered, query);
}

static int start_metrics(struct server *server, struct rdisk_error *err)
{
    struct rdisk_error why;

    server->metrics = metrics_server_create(&server->loop,
                                            server->config->metrics,
                                            stat_wanted, server, &why);
    if (why.code) {
        *err = why;
    }
    return why.code;
}

/* Whole ones, at least one. */
static unsigned int seconds(uint64_t ms)
{
    return ms < 1000 ? 1 : (unsigned int)(ms / 1000);
}

int server_start(struct server *server, struct config *config,
                 const struct command_line *line, struct rdisk_error *err)
{
    static int (*const parts[])(struct server * server,
                                struct rdisk_error * err) = {
        start_jobs,    server_watch_all, await_address, start_placement,
        start_losses,  start_volumes,    start_workers, start_target,
        start_control, start_metrics,
    };
    int result;

    assert_control_thread();
    *server = (struct server) {
        .config = config,
        .line = line,
        .env = log_env_init(),
        .pool = { .directory = -1, .lock = -1 },
        .records = { .directory = -1, .lock = -1 },
        .ceph = {
            .config = config->ceph_config,
            .user = config->ceph_user,
            .keyring = config->ceph_keyring,
            .op_timeout_s = seconds(config->ceph_op_timeout),
            /* Before the time limit of those who wait for the volume. */
            .connect_timeout_s = seconds(config->storage_timeout / 2),
        },
    };
    server->started = rdisk_now(server->env);
    result = start_loop(server, err);
    if (result < 0) {
        return result;
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && result == 0;
         i++) {
        result = parts[i](server, err);
    }
    if (result == 0 && server->stopping) {
        result = stopped(err);
    }
    if (result < 0 && !(server->jobs && jobs_count(server->jobs))) {
        server_free(server);
    }
    return result;
}
