/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/disk_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/log.h"
#include "vhost-user-blk/client_record.h"

/* Between two attempts to open a volume, in milliseconds; doubled each time. */
#define RETRY_MIN_MS 100u
#define RETRY_MAX_MS 5000u

#define SOURCE_DISK(source, member) container_of(source, struct disk, member)

/* ---- Sessions ------------------------------------------------------------ */

static void step(struct disk *disk);

static void session_ready(struct loop_source *source, uint32_t events)
{
    struct disk *disk = SOURCE_DISK(source, session_source);

    rdisk_initiator_process(disk->session);
    step(disk);
}

static void volume_changed(void *opaque, uint64_t size)
{
    struct disk *disk = opaque;

    atomic_store(&disk->size, size);
    disk->geometry.size = size;
    if (disk->device) {
        log_info("disk '%s': the volume has %llu bytes now", disk->options.name,
                 (unsigned long long)size);
        device_resized(disk->device, size);
    }
}

static const struct rdisk_initiator_events session_events = {
    .volume_changed = volume_changed,
};

static void retry_later(struct disk *disk)
{
    struct itimerspec when = {
        .it_value.tv_sec = disk->retry_ms / 1000,
        .it_value.tv_nsec = disk->retry_ms % 1000 * 1000000l,
    };

    timerfd_settime(disk->retry_fd, 0, &when, NULL);
    disk->retry_ms = disk->retry_ms * 2 < RETRY_MAX_MS ? disk->retry_ms * 2
                                                       : RETRY_MAX_MS;
}

void disk_session_no_retry(struct disk *disk)
{
    struct itimerspec never = { 0 };

    timerfd_settime(disk->retry_fd, 0, &never, NULL);
    disk->retry_ms = RETRY_MIN_MS;
}

/* Each failure is logged once, not at each attempt. */
static void note_error(struct disk *disk, const struct rdisk_error *err)
{
    if (strcmp(disk->error.text, err->text)) {
        log_error("disk '%s': %s", disk->options.name, err->text);
    }
    disk->error = *err;
}

/* From now on @session is the one that others see the counters of. */
static void count_session(struct disk *disk, struct rdisk_initiator *session)
{
    pthread_mutex_lock(&disk->lock);
    disk->counted = session;
    for (unsigned int i = 0; i < disk->lane_count; i++) {
        disk->counting[i] = session ? rdisk_initiator_queue(session, i) : NULL;
    }
    pthread_mutex_unlock(&disk->lock);
}

void disk_session_drop(struct disk *disk)
{
    if (disk->session) {
        count_session(disk, NULL);
        loop_remove(&disk->loop, rdisk_initiator_fd(disk->session));
        rdisk_initiator_destroy(disk->session);
        disk->session = NULL;
    }
}

/*
 * The client of the next session: with epochs above all of the last one's,
 * recorded before they are sent to the server.
 */
static int next_client(struct disk *disk, struct rdisk_error *err)
{
    assert(disk->client.epoch);
    disk->client.epoch += CLIENT_EPOCHS;
    return client_record_write(disk->record, &disk->client, err);
}

/* A read-only session for the volume's size, which takes little of the server's
 * memory. */
static struct rdisk_initiator_options probing(const struct disk *disk)
{
    struct rdisk_initiator_options options = disk->options.initiator;

    options.read_only = true;
    options.queues = 1;
    options.slots = 1;
    options.slot_size = RDISK_SLOT_SIZE_MIN;
    options.bounce_size = 64u << 10;
    options.reconnect_delay_ms = 0;
    return options;
}

/* The disk's identity as a client, as it was when it was last used. */
static int read_client(struct disk *disk, struct rdisk_error *err)
{
    return disk->client.epoch ? 0
                              : client_record_read(disk->record, disk->env,
                                                   &disk->client, err);
}

static int create_session(struct disk *disk, enum disk_state state,
                          struct rdisk_error *err)
{
    struct rdisk_initiator_options options = disk->options.initiator;
    int ret = 0;

    if (state == DISK_PROBING) {
        options = probing(disk);
        ret = read_client(disk, err);
    } else {
        ret = next_client(disk, err);
        options.client = &disk->client;
    }
    if (ret < 0) {
        return ret;
    }
    disk->session = rdisk_initiator_create(disk->env, &options, &session_events,
                                           disk, err);
    if (!disk->session) {
        return err->code;
    }
    ret = loop_add(&disk->loop, rdisk_initiator_fd(disk->session), EPOLLIN,
                   &disk->session_source);
    return ret < 0 ? rdisk_error_set(err, ret, "cannot watch the session: %s",
                                     strerror(-ret))
                   : rdisk_initiator_start(disk->session, err);
}

void disk_session_start(struct disk *disk, enum disk_state state)
{
    struct rdisk_error err = { 0 };

    assert(!disk->session);
    disk->state = state;
    disk_publish(disk);
    if (create_session(disk, state, &err) < 0) {
        note_error(disk, &err);
        disk_session_drop(disk);
        retry_later(disk);
    }
}

static void retry_ready(struct loop_source *source, uint32_t events)
{
    struct disk *disk = SOURCE_DISK(source, retry_source);
    uint64_t count;

    if (read(disk->retry_fd, &count, sizeof(count)) == sizeof(count) &&
        !disk->session) {
        disk_session_start(disk, disk->state);
    }
}

/* ---- Memory -------------------------------------------------------------- */

static void memory_added(void *opaque, void *address, size_t length)
{
    struct disk *disk = opaque;
    struct rdisk_error err = { 0 };

    if (disk->state == DISK_OPEN &&
        rdisk_initiator_register(disk->session, address, length, &err) < 0 &&
        !disk->memory_reported) {
        disk->memory_reported = true;
        log_warning("disk '%s': I/O on guest memory will be copied: %s",
                    disk->options.name, err.text);
    }
}

static void memory_removed(void *opaque, void *address, size_t length)
{
    struct disk *disk = opaque;

    if (disk->session && disk->state != DISK_PROBING) {
        rdisk_initiator_unregister(disk->session, address, length);
    }
}

/* ---- Lanes --------------------------------------------------------------- */

static void call_detach(void *argument)
{
    lane_detach(argument);
}

static void detach_lanes(struct disk *disk)
{
    for (unsigned int i = 0; i < disk->lane_count; i++) {
        reactor_call(disk->lanes[i].reactor, call_detach, &disk->lanes[i]);
    }
}

static void attach_lanes(struct disk *disk)
{
    const struct rdisk_volume_info *info = rdisk_initiator_info(disk->session);

    for (unsigned int i = 0; i < disk->lane_count; i++) {
        struct lane *lane = &disk->lanes[i];

        lane->queue = rdisk_initiator_queue(disk->session, i);
        lane->max_transfer = info->max_transfer;
        lane->limits = (struct blk_limits) {
            .block_size = info->block_size,
            .read_only = info->read_only,
            .discard = info->discard,
            .zeroes = info->zeroes,
        };
    }
}

/* ---- Steps --------------------------------------------------------------- */

static void take_geometry(struct disk *disk)
{
    const struct rdisk_volume_info *info = rdisk_initiator_info(disk->session);

    disk->geometry = (struct device_geometry) {
        .size = rdisk_initiator_size(disk->session),
        .block_size = info->block_size,
        .optimal_size = info->optimal_size,
        .read_only = disk->options.initiator.read_only,
        .discard = info->discard,
        .zeroes = info->zeroes,
    };
    atomic_store(&disk->size, disk->geometry.size);
}

/* The session has ended: begin what follows. */
static void session_ended(struct disk *disk)
{
    enum disk_state state = disk->state;

    disk_session_drop(disk);
    disk->state = DISK_IDLE;
    if (disk->ending) {
        return;
    }
    if (state == DISK_PROBING) {
        struct rdisk_error err;

        if (device_listen(disk->device, &disk->geometry, &err) < 0) {
            note_error(disk, &err);
            disk->state = DISK_PROBING;
            retry_later(disk);
        }
    } else if (device_started(disk->device)) {
        disk_session_start(disk, DISK_OPENING);
    }
}

/* The session is of no use as it is. No request has gone out, and the guest's
 * wait. */
static void try_again(struct disk *disk, const struct rdisk_error *err)
{
    note_error(disk, err);
    disk_session_drop(disk);
    retry_later(disk);
}

/* The volume is open to write: requests may flow. */
static void opened(struct disk *disk)
{
    const struct rdisk_volume_info *info = rdisk_initiator_info(disk->session);
    uint64_t size = rdisk_initiator_size(disk->session);
    struct rdisk_error err;

    if (info->block_size != disk->geometry.block_size ||
        info->queues < disk->lane_count || size < disk->geometry.size) {
        rdisk_error_set(&err, -EPROTO,
                        "the server gives volume '%s' %u "
                        "queues, blocks of %u bytes and %llu bytes; this "
                        "device needs %u, %u and at least %llu",
                        disk->options.parsed.volume, info->queues,
                        info->block_size, (unsigned long long)size,
                        disk->lane_count, disk->geometry.block_size,
                        (unsigned long long)disk->geometry.size);
        try_again(disk, &err);
        return;
    }
    disk->client.generation = info->generation;
    if (client_record_write(disk->record, &disk->client, &err) < 0) {
        try_again(disk, &err);
        return;
    }
    disk_session_no_retry(disk);
    disk->state = DISK_OPEN;
    disk->error = (struct rdisk_error) { 0 };
    if (size != disk->geometry.size) {
        volume_changed(disk, size);
    }
    attach_lanes(disk);
    count_session(disk, disk->session);
    device_for_each_region(disk->device, memory_added, disk);
    log_info("disk '%s': volume open, epoch %llu", disk->options.name,
             (unsigned long long)info->epoch);
    device_go(disk->device);
}

/* Another client has written the volume since: the guest's requests fail. */
static void refuse_requests(struct disk *disk)
{
    disk->state = DISK_FAILED;
    for (unsigned int i = 0; i < disk->lane_count; i++) {
        disk->lanes[i].refusing = true;
        /* Requests are parsed all the same, for the place of their status. */
        disk->lanes[i].limits.block_size = disk->geometry.block_size;
    }
    device_go(disk->device);
}

static void could_not_open(struct disk *disk)
{
    bool lost = disk->state == DISK_OPENING &&
                rdisk_initiator_error(disk->session)->code == -ESTALE;

    disk_session_drop(disk);
    if (disk->ending) {
        return;
    }
    if (lost) {
        refuse_requests(disk);
    } else {
        retry_later(disk);
    }
}

/* What the session's state means for the disk. */
static void step(struct disk *disk)
{
    enum rdisk_initiator_state state;

    if (!disk->session) {
        return;
    }
    state = rdisk_initiator_state(disk->session);
    if (state == RDISK_INITIATOR_READY && disk->state == DISK_PROBING) {
        disk_session_no_retry(disk);
        disk->error = (struct rdisk_error) { 0 };
        take_geometry(disk);
        rdisk_initiator_close(disk->session);
        state = rdisk_initiator_state(disk->session);
    } else if (state == RDISK_INITIATOR_READY && disk->state == DISK_OPENING) {
        opened(disk);
        return;
    }
    if (state == RDISK_INITIATOR_CLOSED && disk->state != DISK_FAILED) {
        session_ended(disk);
    } else if (state == RDISK_INITIATOR_FAILED) {
        note_error(disk, rdisk_initiator_error(disk->session));
        switch (disk->state) {
        case DISK_PROBING:
        case DISK_OPENING:
            could_not_open(disk);
            break;
        case DISK_OPEN:
            /* The queues end their requests with errors, and new ones. */
            disk->state = DISK_FAILED;
            break;
        default:
            session_ended(disk);
        }
    }
}

static void started(void *opaque)
{
    struct disk *disk = opaque;

    if (disk->state == DISK_IDLE && !disk->ending) {
        disk_session_start(disk, DISK_OPENING);
    }
}

static void stopped(void *opaque)
{
    struct disk *disk = opaque;

    disk_session_no_retry(disk);
    if (disk->lanes[0].queue || disk->lanes[0].refusing) {
        detach_lanes(disk);
    }
    if (disk->session && disk->state != DISK_PROBING &&
        rdisk_initiator_state(disk->session) == RDISK_INITIATOR_READY) {
        disk->state = DISK_CLOSING;
        rdisk_initiator_close(disk->session);
        step(disk);
    } else if (disk->state != DISK_PROBING && disk->state != DISK_CLOSING) {
        disk_session_drop(disk);
        disk->state = DISK_IDLE;
    }
}

static void fresh(void *opaque)
{
    struct disk *disk = opaque;

    disk->client.generation = 0;
}

/* Do not wait any longer for a lost connection. */
static void abandoned(void *opaque)
{
    struct disk *disk = opaque;

    if (disk->session) {
        rdisk_initiator_cancel(disk->session);
    }
}

const struct device_events disk_device_events = {
    .started = started,
    .stopped = stopped,
    .fresh = fresh,
    .memory_added = memory_added,
    .memory_removed = memory_removed,
    .abandoned = abandoned,
};

void disk_session_init(struct disk *disk)
{
    disk->retry_ms = RETRY_MIN_MS;
    disk->session_source.ready = session_ready;
    disk->retry_source.ready = retry_ready;
}
