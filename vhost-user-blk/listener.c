/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/device_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/log.h"
#include "common/stale_socket.h"

/* Between two attempts to accept when there is no descriptor. */
#define PAUSE_SECONDS 1

/* A socket that stays readable, and of which nothing can be taken, would make
 * the loop spin: it is watched again after a while. */
static void pause_accepting(struct device *device, int code)
{
    const struct itimerspec when = { .it_value.tv_sec = PAUSE_SECONDS };

    if (!device->pausing) {
        log_error("disk '%s': cannot accept a VMM at '%s': %s; raise the limit "
                  "of descriptors (LimitNOFILE=, ulimit -n)",
                  device->name, device->address.sun_path, strerror(-code));
    }
    device->pausing = true;
    loop_change(device->loop, device->listen_fd, 0, &device->listening);
    timerfd_settime(device->pause_fd, 0, &when, NULL);
}

void listener_resume(struct loop_source *source, uint32_t events)
{
    struct device *device = SOURCE_DEVICE(source, resuming);
    uint64_t count;

    if (read(device->pause_fd, &count, sizeof(count)) == sizeof(count) &&
        device->listen_fd >= 0) {
        loop_change(device->loop, device->listen_fd, EPOLLIN,
                    &device->listening);
    }
}

void listener_ready(struct loop_source *source, uint32_t events)
{
    struct device *device = SOURCE_DEVICE(source, listening);
    int fd = accept4(device->listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            pause_accepting(device, -errno);
        }
        return;
    }
    device->pausing = false;
    if (device->connected) {
        log_warning("disk '%s': a second VMM was refused at '%s': one is "
                    "connected",
                    device->name, device->address.sun_path);
        close(fd);
        return;
    }
    connection_begin(device, fd);
}

/* A socket that no process listens to any more is in the way. */
static int remove_stale(const struct sockaddr_un *address,
                        struct rdisk_error *err)
{
    int ret = stale_socket_remove(address);

    switch (ret) {
    case 0:
        return 0;
    case -EADDRINUSE:
        return rdisk_error_set(err, ret,
                               "another process answers at "
                               "'%s'",
                               address->sun_path);
    case -EEXIST:
        return rdisk_error_set(err, ret,
                               "'%s' exists and is not a "
                               "socket",
                               address->sun_path);
    default:
        return rdisk_error_set(err, ret, "cannot create a socket: %s",
                               strerror(-ret));
    }
}

/* Which users may connect. */
static int admit(const struct device *device, struct rdisk_error *err)
{
    const char *path = device->address.sun_path;

    if (((device->owner != (uid_t)-1 || device->group != (gid_t)-1) &&
         chown(path, device->owner, device->group) < 0) ||
        chmod(path, device->mode) < 0) {
        int code = -errno;

        return rdisk_error_set(err, code,
                               "cannot give '%s' the owner %d, the group %d "
                               "and the mode %o: %s; run rdisk-vhost as root, "
                               "or leave owner and group out",
                               path, (int)device->owner, (int)device->group,
                               (unsigned int)device->mode, strerror(-code));
    }
    return 0;
}

/* Bound, with an owner and a mode, and listening. */
static int listen_at(struct device *device, struct rdisk_error *err)
{
    const struct sockaddr_un *address = &device->address;
    int ret;

    device->listen_fd = socket(AF_UNIX,
                               SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* No other user can connect before its owner and mode are set. bind(2) uses
     * the mode of the descriptor; umask(2) would affect every thread. */
    if (device->listen_fd < 0 || fchmod(device->listen_fd, 0600) < 0 ||
        bind(device->listen_fd, (const struct sockaddr *)address,
             sizeof(*address)) < 0) {
        ret = -errno;
    } else {
        ret = admit(device, err);
        if (ret < 0) {
            return ret;
        }
        ret = listen(device->listen_fd, 8) < 0
                  ? -errno
                  : loop_add(device->loop, device->listen_fd, EPOLLIN,
                             &device->listening);
    }
    return ret < 0 ? rdisk_error_set(err, ret,
                                     "cannot listen at '%s' for disk '%s': %s",
                                     address->sun_path, device->name,
                                     strerror(-ret))
                   : 0;
}

static int open_socket(struct device *device, struct rdisk_error *err)
{
    int ret = remove_stale(&device->address, err);

    if (ret < 0) {
        return ret;
    }
    ret = listen_at(device, err);
    if (ret < 0 && device->listen_fd >= 0) {
        close(device->listen_fd);
        device->listen_fd = -1;
    }
    return ret;
}

int device_listen(struct device *device, const struct device_geometry *geometry,
                  struct rdisk_error *err)
{
    device->geometry = *geometry;
    return device->listen_fd < 0 ? open_socket(device, err) : 0;
}

void device_unlisten(struct device *device)
{
    if (device->listen_fd >= 0) {
        loop_remove(device->loop, device->listen_fd);
        close(device->listen_fd);
        unlink(device->address.sun_path);
        device->listen_fd = -1;
    }
}
