/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/disk_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "vhost-user-blk/client_record.h"

const char *disk_state_name(enum disk_state state)
{
    static const char *const names[] = {
        [DISK_PROBING] = "probing", [DISK_IDLE] = "idle",
        [DISK_OPENING] = "opening", [DISK_OPEN] = "open",
        [DISK_FAILED] = "failed",   [DISK_CLOSING] = "closing",
    };

    return names[state];
}

static int create_lanes(struct disk *disk, struct reactor *const *reactors,
                        unsigned int reactor_count)
{
    const char *serial = disk->options.serial ? disk->options.serial
                                              : disk->options.parsed.volume;

    disk->lane_count = disk->options.initiator.queues;
    disk->lanes = calloc(disk->lane_count, sizeof(disk->lanes[0]));
    if (!disk->lanes) {
        return -ENOMEM;
    }
    for (unsigned int i = 0; i < disk->lane_count; i++) {
        struct lane *lane = &disk->lanes[i];

        lane->reactor = reactors[i % reactor_count];
        lane->size = &disk->size;
        lane->virtqueues = calloc(disk->options.virtqueues,
                                  sizeof(lane->virtqueues[0]));
        if (!lane->virtqueues) {
            return -ENOMEM;
        }
        memcpy(lane->serial, serial, strnlen(serial, BLK_SERIAL_SIZE));
    }
    return 0;
}

static void release(struct disk *disk)
{
    device_destroy(disk->device);
    if (disk->retry_fd >= 0) {
        loop_remove(disk->loop, disk->retry_fd);
        close(disk->retry_fd);
    }
    for (unsigned int i = 0; disk->lanes && i < disk->lane_count; i++) {
        free(disk->lanes[i].virtqueues);
    }
    free(disk->lanes);
    free(disk->record);
    disk_options_free(&disk->options);
    free(disk);
}

/* Beside the socket, since both live as long as the host runs. */
static int name_record(struct disk *disk, struct rdisk_error *err)
{
    if (asprintf(&disk->record, "%s.client", disk->options.socket) < 0) {
        disk->record = NULL;
        return rdisk_error_set(err, -ENOMEM, "no memory for disk '%s'",
                               disk->options.name);
    }
    return 0;
}

struct disk *disk_create(const struct rdisk_env *env, struct loop *loop,
                         struct reactor *const *reactors,
                         unsigned int reactor_count,
                         struct disk_options *options, struct rdisk_error *err)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    struct device_options device;

    if (!disk) {
        rdisk_error_set(err, -ENOMEM, "no memory for disk '%s'", options->name);
        disk_options_free(options);
        return NULL;
    }
    disk->env = env;
    disk->loop = loop;
    disk->options = *options;
    disk->options.initiator.secret = disk->options.secret.length
                                         ? &disk->options.secret
                                         : NULL;
    disk->options.initiator.host = disk->options.parsed.host;
    disk->options.initiator.volume = disk->options.parsed.volume;
    if (disk->options.initiator.queues > disk->options.virtqueues) {
        disk->options.initiator.queues = disk->options.virtqueues;
    }
    disk_session_init(disk);
    disk->retry_fd = timerfd_create(CLOCK_MONOTONIC,
                                    TFD_NONBLOCK | TFD_CLOEXEC);
    if (disk->retry_fd < 0 || create_lanes(disk, reactors, reactor_count) < 0 ||
        loop_add(loop, disk->retry_fd, EPOLLIN, &disk->retry_source) < 0) {
        rdisk_error_set(err, -ENOMEM,
                        "no memory or descriptors for disk "
                        "'%s'",
                        disk->options.name);
        release(disk);
        return NULL;
    }
    device = (struct device_options) {
        .name = disk->options.name,
        .socket = disk->options.socket,
        .virtqueues = disk->options.virtqueues,
        .mode = disk->options.mode,
        .owner = disk->options.owner,
        .group = disk->options.group,
    };
    disk->device = device_create(loop, &device, disk->lanes, disk->lane_count,
                                 &disk_device_events, disk, err);
    if (!disk->device || name_record(disk, err) < 0 ||
        client_record_read(disk->record, env, &disk->client, err) < 0) {
        release(disk);
        return NULL;
    }
    disk_session_start(disk, DISK_PROBING);
    return disk;
}

void disk_remove(struct disk *disk)
{
    disk->removing = true;
    disk_session_no_retry(disk);
    device_unlisten(disk->device);
    device_disconnect(disk->device);
    if (disk->state == DISK_PROBING || disk->state == DISK_OPENING ||
        disk->state == DISK_FAILED) {
        if (!device_connected(disk->device)) {
            disk_session_drop(disk);
        }
    }
}

bool disk_gone(const struct disk *disk)
{
    return disk->removing && !disk->session && !device_connected(disk->device);
}

void disk_destroy(struct disk *disk)
{
    assert(disk_gone(disk));
    release(disk);
}

void disk_get_info(const struct disk *disk, struct disk_info *info)
{
    *info = (struct disk_info) {
        .name = disk->options.name,
        .uri = disk->options.uri,
        .socket = disk->options.socket,
        .state = disk->state,
        .error = disk->error.text,
        .connected = device_connected(disk->device),
        .size = disk->geometry.size,
        .block_size = disk->geometry.block_size,
    };
    for (unsigned int i = 0; i < disk->lane_count; i++) {
        const struct lane *lane = &disk->lanes[i];

        info->requests += rdisk_counter_read(&lane->requests);
        info->failed += rdisk_counter_read(&lane->failed);
        info->refused += rdisk_counter_read(&lane->refused);
    }
    if (!disk->session || disk->state == DISK_PROBING) {
        return;
    }
    info->reconnects = rdisk_initiator_reconnects(disk->session);
    for (unsigned int i = 0; i < disk->lane_count; i++) {
        struct rdisk_queue *queue = rdisk_initiator_queue(disk->session, i);

        if (queue) {
            rdisk_queue_counters(queue, &info->queues);
        }
    }
}
