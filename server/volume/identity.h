/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The identity of a volume, whatever its name, and of the volatile cache behind
 * it. Clients that reconnect compare them. Control thread.
 */
#ifndef RDISK_SERVER_VOLUME_IDENTITY_H
#define RDISK_SERVER_VOLUME_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <rdisk/protocol.h>

/*
 * A file keeps its identity as long as it exists, also under another name and
 * after a restart of the machine; another one in its place has another. A block
 * device is identified by its own identifiers; a loop device by its file; and
 * one without identifiers by where it is attached, or, as long as the system
 * runs, by its number.
 */
void identity_of_file(int fd, const struct stat *st,
                      uint8_t identity[RDISK_ID_SIZE]);
/*
 * A file's identity is stored with it, in the extended attribute
 * user.rdisk.identity, together with which file it was stored with: so that it
 * travels with the file where that is moved, and a copy is known as one. It is
 * the only one that stays the same where a file's number does not (FUSE,
 * virtiofs).
 */
struct identity_place {
    uint8_t stored[RDISK_ID_SIZE];
    uint8_t here[RDISK_ID_SIZE]; /* the file itself; where numbers do not
                                       last, its path */
    bool is_stored;
    bool in_place; /* and it was stored with this very file */
};
void identity_look(int fd, const struct stat *st, struct identity_place *place);
/* Store @identity with the file that is @here, durably. 0, or a negative errno
 * where that cannot be. */
int identity_store(int fd, const uint8_t identity[RDISK_ID_SIZE],
                   const uint8_t here[RDISK_ID_SIZE]);
/* What an administrator calls it. */
void identity_of_text(const char *text, uint8_t identity[RDISK_ID_SIZE]);
/* Of what exists only in this process. */
void identity_random(uint8_t identity[RDISK_ID_SIZE]);

/*
 * What the kernel has taken and not written yet outlives a process that is
 * killed, but not the running system: a number for that.
 */
void identity_of_boot(uint8_t cache[RDISK_ID_SIZE]);

#endif
