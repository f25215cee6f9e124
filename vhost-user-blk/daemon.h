/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All of rdisk-vhost: its reactors, its disks, its control socket. */
#ifndef VHOST_USER_BLK_DAEMON_H
#define VHOST_USER_BLK_DAEMON_H

#include <signal.h>

#include "common/control_server.h"
#include "common/loop.h"
#include "common/metrics_server.h"
#include "vhost-user-blk/config.h"
#include "vhost-user-blk/disk.h"
#include "vhost-user-blk/reactor.h"

struct daemon_disk {
    struct daemon_disk *next;
    struct disk *disk;
    char *name;
};

struct adding;

struct daemon {
    const struct rdisk_env *env;
    struct loop loop;
    int disk_fd; /* eventfd: a disk has ended, or one may be added */
    struct loop_source disk_source;
    struct reactor **reactors;
    unsigned int reactor_count;
    struct daemon_disk *disks;
    struct adding *adding; /* adding.h */
    struct control *control;
    struct metrics_server *metrics; /* NULL: none over HTTP */
    bool stopping;
};

/* What daemon_run() takes; blocked before the first thread starts. */
sigset_t daemon_signals(void);
/* Takes the disks of @config over. 0 or a negative errno. */
int daemon_start(struct daemon *daemon, struct vhost_config *config,
                 const struct rdisk_env *env, struct rdisk_error *err);
/* Serve until SIGTERM or SIGINT. */
void daemon_run(struct daemon *daemon);
void daemon_end(struct daemon *daemon);

/* Takes @options over. 0 or a negative errno. */
int daemon_add(struct daemon *daemon, struct disk_options *options,
               struct rdisk_error *err);
/* Ask the disk, or all with NULL: disk_ask(). 0 or -ENOENT. */
int daemon_ask(struct daemon *daemon, const char *name,
               enum disk_request request, struct rdisk_error *err);

/* command.c: a request on the control socket, and its reply. */
void daemon_control(void *opaque, const char *line, struct control_call *call);
/* A snapshot for metrics. */
void daemon_stat(void *opaque, struct metrics_query *query);

#endif
