/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/device_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/thread.h"
#include "vhost-user-blk/close_last.h"

/* Bytes of the header of a vhost-user message: request, flags, size. */
#define HEADER_SIZE 12u
/* Between two messages about a guest that breaks the rules. */
#define VIOLATION_INTERVAL (60000 * RDISK_MSEC)

/* ---- Lanes, around messages ---------------------------------------------- */

struct lane_call {
    struct lane *lane;
    int result;
    unsigned int in_flight;
};

static void call_start(void *argument)
{
    struct lane_call *call = argument;

    call->result = lane_start(call->lane);
}

static void call_stop(void *argument)
{
    struct lane_call *call = argument;

    if (call->lane->running) {
        lane_stop(call->lane);
    }
    call->in_flight = call->lane->in_flight;
}

static void call_keep(void *argument)
{
    lane_keep(argument);
}

/* Returns the number of requests in flight. */
unsigned int connection_stop_lanes(struct device *device)
{
    unsigned int in_flight = 0;

    for (unsigned int i = 0; i < device->lane_count; i++) {
        struct lane_call call = { .lane = &device->lanes[i] };

        reactor_call(call.lane->reactor, call_stop, &call);
        in_flight += call.in_flight;
    }
    return in_flight;
}

struct lane_hold_call {
    struct lane *lane;
    bool held;
};

static void call_hold(void *argument)
{
    struct lane_hold_call *call = argument;

    lane_hold(call->lane, call->held);
}

static void hold_lanes(struct device *device, bool held)
{
    for (unsigned int i = 0; i < device->lane_count; i++) {
        struct lane_hold_call call = { &device->lanes[i], held };

        reactor_call(call.lane->reactor, call_hold, &call);
    }
}

void connection_start_lanes(struct device *device)
{
    /* Between two messages that replace memory, rings may be in none. */
    if (!device->going || device->vu.broken ||
        !guest_memory_find_rings(device)) {
        return;
    }
    for (unsigned int i = 0; i < device->lane_count; i++) {
        struct lane_call call = { .lane = &device->lanes[i] };

        reactor_call(call.lane->reactor, call_start, &call);
        if (call.result < 0) {
            log_error("disk '%s': cannot watch a virtqueue: %s; the VMM is "
                      "disconnected",
                      device->name, strerror(-call.result));
            device_disconnect(device);
            return;
        }
    }
}

void connection_panic(VuDev *vu, const char *text)
{
    struct device *device = device_of(vu);
    const char *none = NULL;
    uint64_t one = 1;

    /* The guest's fault: only reactors use what it writes. */
    if (thread_role == THREAD_REACTOR) {
        atomic_store(&device->rings_broken, true);
    }
    /* Any thread, maybe several; the first one counts. */
    if (atomic_compare_exchange_strong(&device->broken, &none, "")) {
        snprintf(device->broken_text, sizeof(device->broken_text), "%s", text);
        atomic_store(&device->broken, device->broken_text);
    }
    if (write(device->drained_fd, &one, sizeof(one)) < 0) {
        abort(); /* an eventfd takes 2^64 - 2 of these */
    }
}

static void set_watch(VuDev *vu, int fd, int condition, vu_watch_cb callback,
                      void *data)
{
    /* Only queues with a handler are watched, and ours have none: their lanes
     * watch them. */
    assert(!"no queue has a handler");
}

static void remove_watch(VuDev *vu, int fd)
{
    /* Lanes unwatch before each message. */
}

/* ---- Messages ------------------------------------------------------------ */

/*
 * After a broken chain the VMM connects again and brings it along in its
 * in-flight table, each time. Such a device is not started until the guest
 * resets it, when the VMM requests a new table. With a VMM that has no table it
 * is started each time.
 */
static bool held(const struct device *device)
{
    return device->held && device->vu.protocol_features >>
                                   VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD &
                               1;
}

static bool any_started(struct device *device)
{
    for (unsigned int i = 0; i < device->virtqueue_count; i++) {
        if (vu_queue_started(&device->vu, vu_get_queue(&device->vu, (int)i))) {
            return true;
        }
    }
    return false;
}

static void report_started(struct device *device)
{
    bool started = any_started(device);

    if (started && held(device)) {
        if (!device->hold_logged) {
            log_warning("disk '%s': the invalid request is still in flight; "
                        "the device stays stopped until the guest resets it",
                        device->name);
            device->hold_logged = true;
        }
        started = false;
    }
    if (started == device->started) {
        return;
    }
    device->started = started;
    if (started) {
        if (device->again) {
            /* The volume may have grown meanwhile. */
            device->again = false;
            connection_announce_config(device);
        }
        device->events->started(device->opaque);
    } else {
        device->going = false;
        device->events->stopped(device->opaque);
    }
}

void connection_announce_config(struct device *device)
{
    if (device->vu.backend_fd < 0) {
        return;
    }
    connection_stop_lanes(device);
    hold_lanes(device, true);
    vu_config_change_msg(&device->vu);
    hold_lanes(device, false);
    if (!device->waiting && !device->leaving) {
        connection_start_lanes(device);
    }
}

/* The lanes are stopped, and nothing is in flight if that is needed. */
static void dispatch(struct device *device)
{
    bool handled;

    hold_lanes(device, true);
    handled = vu_dispatch(&device->vu);
    hold_lanes(device, false);
    if (!handled || atomic_load(&device->broken)) {
        device_disconnect(device);
        return;
    }
    guest_memory_added(device);
    report_started(device);
    connection_start_lanes(device);
}

void connection_message_ready(struct loop_source *source, uint32_t events)
{
    struct device *device = SOURCE_DEVICE(source, messages);
    uint32_t header[HEADER_SIZE / sizeof(uint32_t)];
    ssize_t n;

    /* Its message is not to be read yet, so this is the VMM's end. */
    if (device->waiting) {
        device_disconnect(device);
        return;
    }
    n = recv(device->vu.sock, header, sizeof(header), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    /* A VMM sends a header whole. */
    if (n < (ssize_t)sizeof(header)) {
        device_disconnect(device);
        return;
    }
    if (connection_stop_lanes(device) && message_needs_idle(header[0])) {
        device->waiting = true;
        loop_change(device->loop, device->vu.sock, 0, &device->messages);
        return;
    }
    dispatch(device);
}

/* ---- Connections --------------------------------------------------------- */

/* A guest may cause as many of these as it likes. */
static void log_violation(struct device *device, const char *why)
{
    uint64_t now = rdisk_now(device->env);

    if (device->violation_logged &&
        now - device->violation_logged < VIOLATION_INTERVAL) {
        device->violations++;
        return;
    }
    log_error("disk '%s': the VMM or its guest violated the protocol: %s; it "
              "has been disconnected",
              device->name, *why ? why : "unknown reason");
    if (device->violations) {
        log_error("disk '%s': the same %u times since the last such message",
                  device->name, device->violations);
    }
    device->violation_logged = now;
    device->violations = 0;
}

static void leave(struct device *device)
{
    const char *why = atomic_load(&device->broken);

    device->leaving = false;
    guest_memory_remove_all(device);
    if (device->started) {
        device->started = false;
        device->going = false;
        device->events->stopped(device->opaque);
    }
    vu_deinit(&device->vu);
    close(device->last_fd);
    device->connected = false;
    if (why) {
        device->held |= atomic_exchange(&device->rings_broken, false);
        log_violation(device, why);
    } else {
        log_info("disk '%s': the VMM has disconnected", device->name);
    }
}

void device_finish(struct device *device)
{
    if (!device->connected || device->leaving) {
        return;
    }
    device->leaving = true;
    device->waiting = false;
    loop_remove(device->loop, device->vu.sock);
    if (connection_stop_lanes(device) == 0) {
        leave(device);
    }
}

void device_abandon(struct device *device)
{
    if (!device->connected) {
        return;
    }
    assert(device->leaving);
    for (unsigned int i = 0; i < device->lane_count; i++) {
        reactor_call(device->lanes[i].reactor, call_keep, &device->lanes[i]);
    }
    device->events->abandoned(device->opaque);
}

void device_disconnect(struct device *device)
{
    device_finish(device);
    device_abandon(device);
}

void connection_drained(struct loop_source *source, uint32_t events)
{
    struct device *device = SOURCE_DEVICE(source, draining);
    eventfd_t count;

    eventfd_read(device->drained_fd, &count);
    if (!device->connected) {
        return;
    }
    if (device->leaving) {
        if (connection_stop_lanes(device) == 0) {
            leave(device);
        }
    } else if (atomic_load(&device->broken)) {
        device_disconnect(device);
    } else if (device->waiting && connection_stop_lanes(device) == 0) {
        device->waiting = false;
        loop_change(device->loop, device->vu.sock, EPOLLIN, &device->messages);
        dispatch(device);
    }
}

static int watch(struct device *device, int fd)
{
    int ret = loop_add(device->loop, fd, EPOLLIN, &device->messages);

    if (ret < 0) {
        return ret;
    }
    device->last_fd = close_last(fd);
    if (device->last_fd < 0) {
        loop_remove(device->loop, fd);
        return device->last_fd;
    }
    return 0;
}

void connection_begin(struct device *device, int fd)
{
    int ret;

    atomic_store(&device->broken, NULL);
    device->new_table = device->again = false;
    if (!vu_init(&device->vu, (uint16_t)device->virtqueue_count, fd,
                 connection_panic, message_receive, set_watch, remove_watch,
                 &device_iface)) {
        log_error("disk '%s': no memory for a connection", device->name);
        close(fd);
        return;
    }
    ret = watch(device, fd);
    if (ret < 0) {
        log_error("disk '%s': cannot watch a connection: %s", device->name,
                  strerror(-ret));
        vu_deinit(&device->vu);
        return;
    }
    device->connected = true;
    log_info("disk '%s': a VMM has connected", device->name);
}
