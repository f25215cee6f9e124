/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks that keep other servers away: of files, and of directories by a file
 * in them. They end with the process. Advisory, flock(2).
 */
#ifndef RDISK_SERVER_VOLUME_LOCK_H
#define RDISK_SERVER_VOLUME_LOCK_H

#include <stdbool.h>

/*
 * For a server that has just been killed: its process may still be ending, or
 * the kernel still releasing its files.
 */
#define LOCK_WAIT_MS 5000

/* 0; -EBUSY: another one holds it; or why it cannot be locked. */
int lock_file(int fd, bool shared);

/*
 * Take the lock @name of @directory, waiting for up to @wait_ms. Returns its
 * descriptor, to be closed; -EBUSY as above; or a negative errno.
 */
int lock_directory(int directory, const char *name, unsigned int wait_ms);

/* Wait a moment of *@left_ms for the holder of a lock; false: there is no
 * time left. */
bool lock_pause(unsigned int *left_ms);

#endif
