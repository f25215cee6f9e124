/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/identity.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/sysmacros.h>

#include "server/log.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* What tells a volume from any other. */
struct trait {
    char bytes[1024];
    size_t length;
};

static void add(struct trait *trait, const void *bytes, size_t length)
{
    size_t room = sizeof(trait->bytes) - trait->length;

    length = length < room ? length : room;
    memcpy(trait->bytes + trait->length, bytes, length);
    trait->length += length;
}

static void digest(const struct trait *trait, uint8_t identity[RDISK_ID_SIZE])
{
    uint8_t hash[EVP_MAX_MD_SIZE];

    if (!EVP_Digest(trait->bytes, trait->length, hash, NULL, EVP_sha256(),
                    NULL)) {
        /* It has no memory left: better none's than another one's. */
        log_error("cannot compute the identity of a volume");
        identity_random(identity);
        return;
    }
    memcpy(identity, hash, RDISK_ID_SIZE);
}

/* The content of a small file; false if there is none. */
static bool add_content(struct trait *trait, const char *path)
{
    FILE *file = fopen(path, "re");
    char line[256];
    size_t length;

    if (!file) {
        return false;
    }
    length = fread(line, 1, sizeof(line), file);
    fclose(file);
    add(trait, line, length);
    return length > 0;
}

/* ---- Files ------------------------------------------------------------ */

/*
 * Inode numbers are used again, so with the generation that its file system
 * gives it in a handle, and the time when it was made.
 */
static void file_traits(int fd, const struct stat *st, struct trait *trait)
{
    union {
        struct file_handle handle;
        char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } place = { .handle.handle_bytes = MAX_HANDLE_SZ };
    struct statx stx;
    int mount;

    add(trait, "file", 4);
    add(trait, &st->st_ino, sizeof(st->st_ino));
    if (name_to_handle_at(fd, "", &place.handle, &mount,
                          AT_EMPTY_PATH) == 0) {
        add(trait, place.handle.f_handle, place.handle.handle_bytes);
    }
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx) == 0 &&
        (stx.stx_mask & STATX_BTIME)) {
        add(trait, &stx.stx_btime.tv_sec, sizeof(stx.stx_btime.tv_sec));
        add(trait, &stx.stx_btime.tv_nsec, sizeof(stx.stx_btime.tv_nsec));
    }
}

/* ---- Block devices ---------------------------------------------------- */

static void device_traits(int fd, const struct stat *st, struct trait *trait)
{
    /* A partition's disk is the folder above. */
    static const char *const attributes[] = {
        "dm/uuid", "md/uuid", "wwid", "device/wwid", "serial", "device/serial",
        "../wwid", "../device/wwid", "../serial", "../device/serial",
    };
    struct loop_info64 loop;
    bool told = false;
    char path[128];

    add(trait, "device", 6);
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s",
                 major(st->st_rdev), minor(st->st_rdev), attributes[i]);
        told |= add_content(trait, path);
    }
    if (major(st->st_rdev) == LOOP_MAJOR &&
        ioctl(fd, LOOP_GET_STATUS64, &loop) == 0) {
        add(trait, &loop.lo_inode, sizeof(loop.lo_inode));
        add(trait, &loop.lo_offset, sizeof(loop.lo_offset));
        told = true;
    }
    if (!told) {
        add(trait, &st->st_rdev, sizeof(st->st_rdev));
    }
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/start",
             major(st->st_rdev), minor(st->st_rdev));
    add_content(trait, path);
}

/* ---- All -------------------------------------------------------------- */

void identity_of_file(int fd, const struct stat *st,
                      uint8_t identity[RDISK_ID_SIZE])
{
    struct trait trait = { .length = 0 };

    if (S_ISBLK(st->st_mode)) {
        device_traits(fd, st, &trait);
    } else {
        file_traits(fd, st, &trait);
    }
    digest(&trait, identity);
}

void identity_random(uint8_t identity[RDISK_ID_SIZE])
{
    if (getrandom(identity, RDISK_ID_SIZE, 0) != RDISK_ID_SIZE) {
        /* Linux has no such case once it has started. */
        log_error("the kernel has no random numbers");
    }
}

void identity_of_boot(uint8_t cache[RDISK_ID_SIZE])
{
    struct trait trait = { .length = 0 };

    if (!add_content(&trait, BOOT_ID)) {
        log_warning("cannot read %s: after each restart of this server its "
                    "clients' next flush fails", BOOT_ID);
        identity_random(cache);
        return;
    }
    digest(&trait, cache);
}
