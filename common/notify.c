/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"

#define DATAGRAM_SIZE 1024

/* 0 or a negative errno. */
static int send_to(const char *path, const char *text)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = strlen(path);
    int fd, result;

    if (length >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') {
        address.sun_path[0] = '\0'; /* an abstract socket */
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    result = sendto(fd, text, strlen(text), MSG_NOSIGNAL,
                    (struct sockaddr *)&address,
                    (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
                                length)) < 0
                 ? -errno
                 : 0;
    close(fd);
    return result;
}

void notify_service(const struct rdisk_env *env, enum notify_event event,
                    const char *format, ...)
{
    static const char *const lines[] = {
        [NOTIFY_STATUS] = "",
        [NOTIFY_LOADING] = "",
        [NOTIFY_READY] = "READY=1\n",
        [NOTIFY_RELOADING] = "RELOADING=1\n",
        [NOTIFY_STOPPING] = "STOPPING=1\n",
    };
    const char *path = getenv("NOTIFY_SOCKET");
    char text[DATAGRAM_SIZE];
    size_t length;
    va_list args;
    int result;

    if (!path || !path[0]) {
        return;
    }
    length = (size_t)snprintf(text, sizeof(text), "%s", lines[event]);
    if (event == NOTIFY_RELOADING) {
        /* Which reload it is, to systemd. */
        length += (size_t)snprintf(text + length, sizeof(text) - length,
                                   "MONOTONIC_USEC=%" PRIu64 "\n",
                                   rdisk_now(env) / 1000);
    } else if (event == NOTIFY_LOADING) {
        length += (size_t)snprintf(text + length, sizeof(text) - length,
                                   "EXTEND_TIMEOUT_USEC=%u000000\n",
                                   NOTIFY_LOADING_S);
    }
    length += (size_t)snprintf(text + length, sizeof(text) - length, "STATUS=");
    va_start(args, format);
    vsnprintf(text + length, sizeof(text) - length, format, args);
    va_end(args);
    for (char *newline = text + length; (newline = strchr(newline, '\n'));) {
        *newline = ' ';
    }
    result = send_to(path, text);
    if (result < 0) {
        log_warning("cannot notify systemd at '%s' (NOTIFY_SOCKET): %s", path,
                    strerror(-result));
    }
}
