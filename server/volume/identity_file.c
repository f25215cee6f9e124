/* SPDX-License-Identifier: BSD-3-Clause */
/* The identity that is stored with a file. */
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "server/volume/identity.h"

#define ATTRIBUTE "user.rdisk.identity"
/* Version, the identity, and the file that it was stored with. */
#define FORMAT "1 %s %s"
#define HEX    (2 * RDISK_ID_SIZE)
#define VALUE  (2 + HEX + 1 + HEX)

#ifndef EXFAT_SUPER_MAGIC
#define EXFAT_SUPER_MAGIC 0x2011bab0
#endif
#ifndef SMB2_SUPER_MAGIC
#define SMB2_SUPER_MAGIC 0xfe534d42
#endif
#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xff534d42
#endif

static void to_hex(const uint8_t *bytes, char text[HEX + 1])
{
    for (size_t i = 0; i < RDISK_ID_SIZE; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
}

static void from_hex(const char *text, uint8_t *bytes)
{
    for (size_t i = 0; i < RDISK_ID_SIZE; i++) {
        unsigned int byte = 0;

        sscanf(text + 2 * i, "%2x", &byte);
        bytes[i] = (uint8_t)byte;
    }
}

/* Does a file of this file system have the same number as long as it exists?
 * Some make them up when they are asked, and again later. */
static bool numbers_last(int fd)
{
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0) {
        return false;
    }
    switch ((unsigned int)fs.f_type) {
    case FUSE_SUPER_MAGIC:
    case MSDOS_SUPER_MAGIC:
    case EXFAT_SUPER_MAGIC:
    case CIFS_SUPER_MAGIC:
    case SMB2_SUPER_MAGIC:
    case V9FS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
        return false;
    default:
        return true;
    }
}

static void find_here(int fd, const struct stat *st,
                      uint8_t here[RDISK_ID_SIZE])
{
    char name[32], path[PATH_MAX];
    ssize_t length;

    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    length = numbers_last(fd) ? -1 : readlink(name, path, sizeof(path) - 1);
    if (length < 0) {
        identity_of_file(fd, st, here);
        return;
    }
    path[length] = '\0';
    identity_of_text(path, here);
}

/* Anything but what identity_store() writes counts as nothing. */
static bool parse(const char *value, ssize_t length, uint8_t *identity,
                  uint8_t *home)
{
    char first[HEX + 1], second[HEX + 1], again[VALUE + 1];

    if (length != VALUE) {
        return false;
    }
    from_hex(value + 2, identity);
    from_hex(value + 2 + HEX + 1, home);
    to_hex(identity, first);
    to_hex(home, second);
    snprintf(again, sizeof(again), FORMAT, first, second);
    return memcmp(value, again, VALUE) == 0;
}

void identity_look(int fd, const struct stat *st, struct identity_place *place)
{
    char value[VALUE + 1] = "";
    ssize_t length = fgetxattr(fd, ATTRIBUTE, value, VALUE);
    uint8_t home[RDISK_ID_SIZE];

    memset(place, 0, sizeof(*place));
    find_here(fd, st, place->here);
    place->is_stored = parse(value, length, place->stored, home);
    place->in_place = place->is_stored &&
                      memcmp(home, place->here, sizeof(home)) == 0;
}

int identity_store(int fd, const uint8_t identity[RDISK_ID_SIZE],
                   const uint8_t here[RDISK_ID_SIZE])
{
    char first[HEX + 1], second[HEX + 1], value[VALUE + 1];

    to_hex(identity, first);
    to_hex(here, second);
    snprintf(value, sizeof(value), FORMAT, first, second);
    return fsetxattr(fd, ATTRIBUTE, value, VALUE, 0) < 0 || fsync(fd) < 0
               ? -errno
               : 0;
}
