/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/identity.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/log.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* What distinguishes a volume from any other. */
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
        /* No memory: rather one that no volume has than another volume's. */
        log_error("cannot compute the identity of a volume");
        identity_random(identity);
        return;
    }
    memcpy(identity, hash, RDISK_ID_SIZE);
}

/* The content of a small file; false if there is none, or only blanks. */
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
    for (size_t i = 0; i < length; i++) {
        if (!isspace((unsigned char)line[i])) {
            add(trait, line, length);
            return true;
        }
    }
    return false;
}

static void add_number(struct trait *trait, uint64_t number)
{
    add(trait, &number, sizeof(number));
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
    if (name_to_handle_at(fd, "", &place.handle, &mount, AT_EMPTY_PATH) == 0) {
        add(trait, place.handle.f_handle, place.handle.handle_bytes);
    }
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx) == 0 &&
        (stx.stx_mask & STATX_BTIME)) {
        add(trait, &stx.stx_btime.tv_sec, sizeof(stx.stx_btime.tv_sec));
        add(trait, &stx.stx_btime.tv_nsec, sizeof(stx.stx_btime.tv_nsec));
    }
}

/* ---- Block devices ---------------------------------------------------- */

/* Into @path: an attribute of the device in /sys. */
static void device_path(const struct stat *st, const char *name, char *path,
                        size_t size)
{
    snprintf(path, size, "/sys/dev/block/%u:%u/%s", major(st->st_rdev),
             minor(st->st_rdev), name);
}

static bool add_attribute(struct trait *trait, const struct stat *st,
                          const char *name)
{
    char path[128];

    device_path(st, name, path, sizeof(path));
    return add_content(trait, path);
}

/* What lasts no longer than the system runs, and is never the same again: a
 * number may be another disk's later on. */
static void add_incarnation(struct trait *trait, const struct stat *st)
{
    add_content(trait, BOOT_ID);
    add_number(trait, st->st_rdev);
    add_attribute(trait, st, "diskseq");
}

/* By the disk's own identifiers. */
static bool add_names(struct trait *trait, const struct stat *st)
{
    /* A partition's disk is the folder above. */
    static const char *const attributes[] = {
        "dm/uuid",   "md/uuid",          "wwid",    "device/wwid",
        "serial",    "device/serial",    "../wwid", "../device/wwid",
        "../serial", "../device/serial",
    };
    bool any = false;

    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        any |= add_attribute(trait, st, attributes[i]);
    }
    return any;
}

/*
 * A loop device is the file behind it, from an offset on. The kernel reports
 * the file's number and that of its file system, which may be another one's
 * after a restart, and its path, where another file may be by now.
 */
static bool add_loop(struct trait *trait, int fd, const struct stat *st)
{
    struct loop_info64 loop;
    char path[PATH_MAX], name[64];
    struct stat behind;
    FILE *file;
    int backing = -1;

    if (major(st->st_rdev) != LOOP_MAJOR ||
        ioctl(fd, LOOP_GET_STATUS64, &loop) < 0) {
        return false;
    }
    device_path(st, "loop/backing_file", name, sizeof(name));
    file = fopen(name, "re");
    if (file && fgets(path, sizeof(path), file)) {
        path[strcspn(path, "\n")] = '\0';
        backing = open(path, O_PATH | O_CLOEXEC);
    }
    if (file) {
        fclose(file);
    }
    add(trait, "loop", 4);
    add_number(trait, loop.lo_offset);
    if (backing >= 0 && fstat(backing, &behind) == 0 &&
        S_ISREG(behind.st_mode) && behind.st_ino == loop.lo_inode &&
        behind.st_dev == loop.lo_device) {
        file_traits(backing, &behind, trait);
    } else {
        add_number(trait, loop.lo_device);
        add_number(trait, loop.lo_inode);
        add_incarnation(trait, st);
    }
    if (backing >= 0) {
        close(backing);
    }
    return true;
}

/*
 * By where it is attached, for a disk without identifiers. False if that is
 * nowhere, since it is made of memory, a connection or another device.
 */
static bool add_place(struct trait *trait, const struct stat *st)
{
    char name[64], place[PATH_MAX];
    const char *end;
    ssize_t length;

    snprintf(name, sizeof(name), "/sys/dev/block/%u:%u", major(st->st_rdev),
             minor(st->st_rdev));
    length = readlink(name, place, sizeof(place) - 1);
    if (length < 0) {
        return false;
    }
    place[length] = '\0';
    /* What follows is counted in the order in which drivers find it. */
    end = strstr(place, "/virtio");
    end = end ? end : strstr(place, "/block/");
    if (!end || strstr(place, "/devices/virtual/")) {
        return false;
    }
    add(trait, place, (size_t)(end - place));
    return true;
}

static void device_traits(int fd, const struct stat *st, struct trait *trait)
{
    add(trait, "device", 6);
    if (!add_names(trait, st) && !add_loop(trait, fd, st) &&
        !add_place(trait, st)) {
        add_incarnation(trait, st);
    }
    /* Of a partition: where it begins. */
    add_attribute(trait, st, "start");
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

void identity_of_text(const char *text, uint8_t identity[RDISK_ID_SIZE])
{
    struct trait trait = { .length = 0 };

    add(&trait, "text", 4);
    add(&trait, text, strlen(text));
    digest(&trait, identity);
}

void identity_random(uint8_t identity[RDISK_ID_SIZE])
{
    if (getrandom(identity, RDISK_ID_SIZE, 0) != RDISK_ID_SIZE) {
        /* Linux has no such case once it has started. */
        log_error("the kernel provides no random numbers");
    }
}

void identity_of_boot(uint8_t cache[RDISK_ID_SIZE])
{
    struct trait trait = { .length = 0 };

    if (!add_content(&trait, BOOT_ID)) {
        log_warning("cannot read %s: after each restart of this server its "
                    "clients' next flush fails",
                    BOOT_ID);
        identity_random(cache);
        return;
    }
    digest(&trait, cache);
}
