/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MS 50

int lock_file(int fd, bool shared)
{
    int result;

    do {
        result = flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB);
    } while (result < 0 && errno == EINTR);
    if (result == 0) {
        return 0;
    }
    return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

bool lock_pause(unsigned int *left_ms)
{
    static const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000l };

    if (*left_ms < PAUSE_MS) {
        return false;
    }
    nanosleep(&pause, NULL);
    *left_ms -= PAUSE_MS;
    return true;
}

int lock_directory(int directory, const char *name, unsigned int wait_ms)
{
    int fd = openat(directory, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                    0600);
    int result;

    if (fd < 0) {
        return -errno;
    }
    for (;;) {
        result = lock_file(fd, false);
        if (result != -EBUSY || !lock_pause(&wait_ms)) {
            break;
        }
    }
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}
