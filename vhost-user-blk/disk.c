/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/disk_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/log.h"

const char *disk_state_name(enum disk_state state)
{
    static const char *const names[] = {
        [DISK_PROBING] = "probing", [DISK_IDLE] = "idle",
        [DISK_OPENING] = "opening", [DISK_OPEN] = "open",
        [DISK_FAILED] = "failed",   [DISK_CLOSING] = "closing",
        [DISK_DRAINED] = "drained",
    };

    return names[state];
}

/* ---- The thread ---------------------------------------------------------- */

void disk_publish(struct disk *disk)
{
    pthread_mutex_lock(&disk->lock);
    disk->report = (struct disk_report) {
        .state = disk->state,
        .error = disk->error,
        .connected = device_connected(disk->device),
        .held = device_held(disk->device),
        .size = disk->geometry.size,
        .block_size = disk->geometry.block_size,
    };
    pthread_mutex_unlock(&disk->lock);
}

static void begin_end(struct disk *disk)
{
    if (disk->ending) {
        return;
    }
    disk->ending = true;
    disk->abandon_at = rdisk_now(disk->env) + DISK_GRACE_MS * RDISK_MSEC;
    disk_session_no_retry(disk);
    device_unlisten(disk->device);
    device_finish(disk->device);
}

/* Requests may be repeated, and come in any order. */
static void wake_ready(struct loop_source *source, uint32_t events)
{
    struct disk *disk = container_of(source, struct disk, wake_source);
    unsigned int asked;
    eventfd_t count;

    eventfd_read(disk->wake_fd, &count);
    asked = atomic_exchange(&disk->asked, 0);
    if (asked & DISK_REMOVE) {
        disk->removing = true;
    }
    if (asked & DISK_RESUME) {
        disk->draining = false;
    }
    if (asked & DISK_DRAIN) {
        disk->draining = true;
    }
    if (disk->removing || disk->draining) {
        begin_end(disk);
    }
}

/* Goes on with the end of a disk. True: it has been removed. */
static bool settle(struct disk *disk)
{
    if (!disk->ending) {
        return false;
    }
    if (rdisk_now(disk->env) >= disk->abandon_at) {
        disk->abandon_at = RDISK_NEVER;
        device_abandon(disk->device);
    }
    if (device_connected(disk->device)) {
        return false;
    }
    if (disk->session && disk->state != DISK_CLOSING) {
        disk_session_drop(disk);
    }
    if (disk->session) {
        return false;
    }
    disk->state = DISK_DRAINED;
    disk->abandon_at = RDISK_NEVER;
    if (disk->removing) {
        return true;
    }
    if (!disk->draining) {
        disk->ending = false;
        disk_session_start(disk, DISK_PROBING);
    }
    return false;
}

/* Milliseconds until settle() has something to do; -1: never. */
static int timeout(const struct disk *disk)
{
    uint64_t now = rdisk_now(disk->env);

    return disk->abandon_at == RDISK_NEVER ? -1
           : disk->abandon_at <= now
               ? 0
               : (int)((disk->abandon_at - now) / RDISK_MSEC) + 1;
}

static void *run(void *argument)
{
    struct disk *disk = argument;

    disk_session_start(disk, DISK_PROBING);
    while (!settle(disk)) {
        disk_publish(disk);
        loop_turn(&disk->loop, timeout(disk));
    }
    disk_publish(disk);
    atomic_store(&disk->ended, true);
    eventfd_write(disk->home_fd, 1);
    return NULL;
}

/* ---- From creation to the end -------------------------------------------- */

static int create_lanes(struct disk *disk, struct reactor *const *reactors,
                        unsigned int reactor_count)
{
    const char *serial = disk->options.serial ? disk->options.serial
                                              : disk->options.parsed.volume;

    disk->lane_count = disk->options.initiator.queues;
    disk->lanes = calloc(disk->lane_count, sizeof(disk->lanes[0]));
    disk->counting = calloc(disk->lane_count, sizeof(disk->counting[0]));
    if (!disk->lanes || !disk->counting) {
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

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static void release(struct disk *disk)
{
    device_destroy(disk->device);
    close_fd(disk->retry_fd);
    close_fd(disk->wake_fd);
    if (disk->loop.fd >= 0) {
        loop_destroy(&disk->loop);
    }
    for (unsigned int i = 0; disk->lanes && i < disk->lane_count; i++) {
        free(disk->lanes[i].virtqueues);
    }
    free(disk->lanes);
    free(disk->counting);
    free(disk->record);
    disk_options_free(&disk->options);
    pthread_mutex_destroy(&disk->lock);
    free(disk);
}

/* In the socket's folder, since both last until the host is rebooted. */
static int name_record(struct disk *disk)
{
    if (asprintf(&disk->record, "%s.client", disk->options.socket) < 0) {
        disk->record = NULL;
        return -ENOMEM;
    }
    return 0;
}

/* The options point into the structure they are in. */
static void take_options(struct disk *disk, struct disk_options *options)
{
    struct rdisk_initiator_options *initiator = &disk->options.initiator;

    disk->options = *options;
    initiator->secret = disk->options.secret.length ? &disk->options.secret
                                                    : NULL;
    initiator->host = disk->options.parsed.host;
    initiator->servers = disk->options.parsed.servers;
    initiator->volume = disk->options.parsed.volume;
    if (initiator->queues > disk->options.virtqueues) {
        initiator->queues = disk->options.virtqueues;
    }
}

static int open_descriptors(struct disk *disk)
{
    int ret = loop_init(&disk->loop);

    if (ret < 0) {
        disk->loop.fd = -1;
        return ret;
    }
    disk->wake_source.ready = wake_ready;
    disk->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    disk->retry_fd = timerfd_create(CLOCK_MONOTONIC,
                                    TFD_NONBLOCK | TFD_CLOEXEC);
    if (disk->wake_fd < 0 || disk->retry_fd < 0) {
        return -errno;
    }
    ret = loop_add(&disk->loop, disk->wake_fd, EPOLLIN, &disk->wake_source);
    return ret < 0 ? ret
                   : loop_add(&disk->loop, disk->retry_fd, EPOLLIN,
                              &disk->retry_source);
}

static int create_device(struct disk *disk, struct rdisk_error *err)
{
    struct device_options device = {
        .env = disk->env,
        .name = disk->options.name,
        .socket = disk->options.socket,
        .virtqueues = disk->options.virtqueues,
        .mode = disk->options.mode,
        .owner = disk->options.owner,
        .group = disk->options.group,
    };

    disk->device = device_create(&disk->loop, &device, disk->lanes,
                                 disk->lane_count, &disk_device_events, disk,
                                 err);
    return disk->device ? 0 : err->code;
}

static int start_thread(struct disk *disk, struct rdisk_error *err)
{
    sigset_t all, before;
    char name[16];
    int ret;

    disk_publish(disk);
    /* Signals are the daemon's main thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ret = pthread_create(&disk->thread, NULL, run, disk);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ret) {
        return rdisk_error_set(err, -ret,
                               "cannot start the thread of disk '%s': %s",
                               disk->options.name, strerror(ret));
    }
    snprintf(name, sizeof(name), "disk-%.10s", disk->options.name);
    pthread_setname_np(disk->thread, name);
    return 0;
}

struct disk *disk_create(const struct rdisk_env *env, int home_fd,
                         struct reactor *const *reactors,
                         unsigned int reactor_count,
                         struct disk_options *options, struct rdisk_error *err)
{
    struct disk *disk = calloc(1, sizeof(*disk));

    if (!disk) {
        rdisk_error_set(err, -ENOMEM, "no memory for disk '%s'", options->name);
        disk_options_free(options);
        return NULL;
    }
    disk->env = env;
    disk->home_fd = home_fd;
    disk->abandon_at = RDISK_NEVER;
    disk->wake_fd = disk->retry_fd = disk->loop.fd = -1;
    pthread_mutex_init(&disk->lock, NULL);
    take_options(disk, options);
    disk_session_init(disk);
    if (open_descriptors(disk) < 0 || name_record(disk) < 0 ||
        create_lanes(disk, reactors, reactor_count) < 0) {
        rdisk_error_set(err, -ENOMEM, "no memory or descriptors for disk '%s'",
                        disk->options.name);
        release(disk);
        return NULL;
    }
    if (create_device(disk, err) < 0 || start_thread(disk, err) < 0) {
        release(disk);
        return NULL;
    }
    return disk;
}

void disk_ask(struct disk *disk, enum disk_request request)
{
    /* The later one of the two counts. */
    if (request == DISK_DRAIN) {
        atomic_fetch_and(&disk->asked, ~(unsigned int)DISK_RESUME);
    } else if (request == DISK_RESUME) {
        atomic_fetch_and(&disk->asked, ~(unsigned int)DISK_DRAIN);
    }
    atomic_fetch_or(&disk->asked, request);
    eventfd_write(disk->wake_fd, 1);
}

bool disk_ended(const struct disk *disk)
{
    return atomic_load(&disk->ended);
}

void disk_destroy(struct disk *disk)
{
    assert(disk_ended(disk));
    pthread_join(disk->thread, NULL);
    release(disk);
}

void disk_get_info(struct disk *disk, struct disk_info *info)
{
    *info = (struct disk_info) {
        .name = disk->options.name,
        .uri = disk->options.uri,
        .socket = disk->options.socket,
    };
    for (unsigned int i = 0; i < disk->lane_count; i++) {
        const struct lane *lane = &disk->lanes[i];

        info->requests += rdisk_counter_read(&lane->requests);
        info->failed += rdisk_counter_read(&lane->failed);
        info->refused += rdisk_counter_read(&lane->refused);
    }
    pthread_mutex_lock(&disk->lock);
    info->report = disk->report;
    if (disk->counted) {
        info->reconnects = rdisk_initiator_reconnects(disk->counted);
    }
    for (unsigned int i = 0; i < disk->lane_count; i++) {
        if (disk->counting[i]) {
            rdisk_queue_counters(disk->counting[i], &info->queues);
        }
    }
    pthread_mutex_unlock(&disk->lock);
}
