/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/container_of.h"
#include "common/log.h"
#include "common/thread.h"
#include "vhost-user-blk/adding.h"

/* How long the end waits for the disks, in milliseconds: they end by themselves
 * within DISK_GRACE_MS, but for servers that do not answer. A guest's requests
 * that have not ended then are sent again by the next daemon, which has them
 * from the VMM's in-flight table. */
#define STOP_MS (DISK_GRACE_MS + 5000u)

int daemon_add(struct daemon *daemon, struct disk_options *options,
               struct rdisk_error *err)
{
    struct daemon_disk *entry, **link = &daemon->disks;

    assert_control_thread();
    if (daemon->stopping) {
        rdisk_error_set(err, -ESHUTDOWN,
                        "disk '%s' is not added: the daemon is "
                        "stopping",
                        options->name);
        disk_options_free(options);
        return -ESHUTDOWN;
    }
    while (*link && strcmp((*link)->name, options->name)) {
        link = &(*link)->next;
    }
    if (*link) {
        rdisk_error_set(err, -EEXIST, "disk '%s' already exists",
                        options->name);
        disk_options_free(options);
        return -EEXIST;
    }
    entry = calloc(1, sizeof(*entry));
    if (!entry || !(entry->name = strdup(options->name))) {
        free(entry);
        disk_options_free(options);
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    entry->disk = disk_create(daemon->env, daemon->disk_fd, daemon->reactors,
                              daemon->reactor_count, options, err);
    if (!entry->disk) {
        free(entry->name);
        free(entry);
        return err->code;
    }
    *link = entry;
    return 0;
}

int daemon_ask(struct daemon *daemon, const char *name,
               enum disk_request request, struct rdisk_error *err)
{
    bool found = !name;

    for (struct daemon_disk *entry = daemon->disks; entry;
         entry = entry->next) {
        if (!name || strcmp(entry->name, name) == 0) {
            found = true;
            disk_ask(entry->disk, request);
        }
    }
    return found ? 0
                 : rdisk_error_set(err, -ENOENT, "there is no disk '%.140s'",
                                   name);
}

/* Disks that were removed and whose threads have ended. */
static void release_ended(struct daemon *daemon)
{
    struct daemon_disk **link = &daemon->disks, *entry;

    while ((entry = *link)) {
        if (disk_ended(entry->disk)) {
            *link = entry->next;
            log_info("disk '%s': removed", entry->name);
            disk_destroy(entry->disk);
            free(entry->name);
            free(entry);
        } else {
            link = &entry->next;
        }
    }
}

static void disk_ready(struct loop_source *source, uint32_t events)
{
    struct daemon *daemon = container_of(source, struct daemon, disk_source);
    eventfd_t count;

    eventfd_read(daemon->disk_fd, &count);
    release_ended(daemon);
    adding_finish(daemon);
}

static int start_reactors(struct daemon *daemon,
                          const struct vhost_config *config,
                          struct rdisk_error *err)
{
    daemon->reactors = calloc(config->reactors, sizeof(daemon->reactors[0]));
    if (!daemon->reactors) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    for (unsigned int i = 0; i < config->reactors; i++) {
        daemon->reactors[i] = reactor_create(daemon->env, i,
                                             config->poll_time * 1000ull, err);
        if (!daemon->reactors[i]) {
            return err->code;
        }
        daemon->reactor_count++;
    }
    return 0;
}

int daemon_start(struct daemon *daemon, struct vhost_config *config,
                 const struct rdisk_env *env, struct rdisk_error *err)
{
    int ret;

    *daemon = (struct daemon) { .env = env, .disk_source.ready = disk_ready };
    ret = loop_init(&daemon->loop);
    if (ret < 0) {
        return rdisk_error_set(err, ret, "cannot create an epoll: %s",
                               strerror(-ret));
    }
    daemon->disk_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ret = daemon->disk_fd < 0 ? -errno
                              : loop_add(&daemon->loop, daemon->disk_fd,
                                         EPOLLIN, &daemon->disk_source);
    if (ret < 0) {
        return rdisk_error_set(err, ret, "cannot create an eventfd: %s",
                               strerror(-ret));
    }
    ret = start_reactors(daemon, config, err);
    if (ret == 0 && *config->control) {
        daemon->control = control_create(&daemon->loop, config->control,
                                         daemon_control, daemon, err);
        ret = daemon->control ? 0 : err->code;
    }
    if (ret == 0) {
        struct rdisk_error why;

        daemon->metrics = metrics_server_create(&daemon->loop, config->metrics,
                                                daemon_stat, daemon, &why);
        if (why.code) {
            *err = why;
            ret = why.code;
        }
    }
    for (unsigned int i = 0; i < config->disk_count && ret == 0; i++) {
        struct disk_options options = config->disks[i];

        config->disks[i] = (struct disk_options) { 0 };
        /* A session uses one queue on each reactor. */
        options.initiator.queues = daemon->reactor_count;
        ret = daemon_add(daemon, &options, err);
    }
    if (ret < 0) {
        daemon_end(daemon);
    }
    return ret;
}

sigset_t daemon_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return set;
}

struct signals {
    struct loop_source source;
    struct daemon *daemon;
    int fd;
};

static void signal_ready(struct loop_source *source, uint32_t events)
{
    struct signals *signals = container_of(source, struct signals, source);
    struct signalfd_siginfo info;

    if (read(signals->fd, &info, sizeof(info)) != sizeof(info)) {
        return;
    }
    if (info.ssi_signo == SIGHUP) {
        log_warning("SIGHUP ignored: the control socket adds and removes "
                    "disks");
        return;
    }
    signals->daemon->stopping = true;
}

/* Milliseconds until check_time() is due. */
static int timeout(const struct daemon *daemon)
{
    uint64_t deadline = control_deadline(daemon->control);
    uint64_t adding = adding_deadline(daemon);
    uint64_t now = rdisk_now(daemon->env);

    deadline = adding < deadline ? adding : deadline;
    return deadline == RDISK_NEVER ? -1
           : deadline <= now       ? 0
                                   : (int)((deadline - now) / RDISK_MSEC) + 1;
}

static void check_time(struct daemon *daemon, uint64_t now)
{
    control_check_time(daemon->control, now);
    adding_check_time(daemon, now);
}

void daemon_run(struct daemon *daemon)
{
    struct signals signals = { .source.ready = signal_ready, .daemon = daemon };
    sigset_t set = daemon_signals();

    assert_control_thread();
    signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals.fd < 0 ||
        loop_add(&daemon->loop, signals.fd, EPOLLIN, &signals.source) < 0) {
        log_error("cannot watch for signals: %s", strerror(errno));
        return;
    }
    while (!daemon->stopping) {
        loop_turn(&daemon->loop, timeout(daemon));
        check_time(daemon, rdisk_now(daemon->env));
    }
    loop_remove(&daemon->loop, signals.fd);
    close(signals.fd);
}

/* Every disk ends, or the time is over. */
static void stop_disks(struct daemon *daemon)
{
    uint64_t until = rdisk_now(daemon->env) + STOP_MS * RDISK_MSEC, now;

    daemon_ask(daemon, NULL, DISK_REMOVE, NULL);
    while ((daemon->disks || daemon->adding) &&
           (now = rdisk_now(daemon->env)) < until) {
        loop_turn(&daemon->loop, (int)((until - now) / RDISK_MSEC) + 1);
    }
    for (struct daemon_disk *entry = daemon->disks; entry;
         entry = entry->next) {
        log_warning("disk '%s': requests in flight have not ended within %u "
                    "seconds; the next daemon sends them again",
                    entry->name, STOP_MS / 1000);
    }
    if (daemon->disks || daemon->adding) {
        /* Their memory is in use: leave it to the kernel. */
        _exit(1);
    }
}

void daemon_end(struct daemon *daemon)
{
    assert_control_thread();
    stop_disks(daemon);
    metrics_server_destroy(daemon->metrics);
    control_destroy(daemon->control);
    for (unsigned int i = 0; i < daemon->reactor_count; i++) {
        reactor_destroy(daemon->reactors[i]);
    }
    free(daemon->reactors);
    close(daemon->disk_fd);
    loop_destroy(&daemon->loop);
}
