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

#include "common/hex.h"
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

/* True if a file of this file system has the same number as long as it exists.
 * Some generate numbers when a file is used, and others later. */
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

static void print(const uint8_t *identity, const uint8_t *home,
                  char value[VALUE + 1])
{
    char first[HEX + 1], second[HEX + 1];

    hex_print(identity, RDISK_ID_SIZE, first);
    hex_print(home, RDISK_ID_SIZE, second);
    snprintf(value, VALUE + 1, FORMAT, first, second);
}

/* Anything but what identity_store() writes counts as nothing. */
static bool parse(const char *value, ssize_t length, uint8_t *identity,
                  uint8_t *home)
{
    char again[VALUE + 1];

    if (length != VALUE) {
        return false;
    }
    if (!hex_parse(value + 2, identity, RDISK_ID_SIZE) ||
        !hex_parse(value + 2 + HEX + 1, home, RDISK_ID_SIZE)) {
        return false;
    }
    print(identity, home, again);
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
    char value[VALUE + 1];

    print(identity, here, value);
    return fsetxattr(fd, ATTRIBUTE, value, VALUE, 0) < 0 || fsync(fd) < 0
               ? -errno
               : 0;
}
