/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No other client may write an image that this server writes: it holds the
 * image's exclusive lock, and keeps it when another client requests it. A
 * client that breaks the lock has this server's connection blocklisted first.
 *
 * A server that was killed leaves its lock behind, and the cluster takes half
 * a minute to detect its end. The next process of the same server need not
 * wait: it has the lock on the directory of records. So the image notes
 * which server's process has its lock.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "server/backends/rbd/image.h"

/* In the image's metadata: "OWNER SERVER INSTANCE". */
#define NOTE     "rdisk.holder"
#define NOTE_MAX 512

/* The lock's owner, as the cluster names it. 0, -ENOENT: there is none; or
 * another negative errno. */
static int owner_of(const struct image *image, char *owner, size_t size)
{
    rbd_lock_mode_t mode;
    char *owners[1];
    size_t count = 1;
    int result = rbd_lock_get_owners(image->image, &mode, owners, &count);

    if (result < 0 || count == 0) {
        return result < 0 ? result : -ENOENT;
    }
    snprintf(owner, size, "%s", owners[0]);
    rbd_lock_get_owners_cleanup(owners, count);
    return 0;
}

/* The note: 0, or a negative errno; -ENOENT: there is none. */
static int read_note(const struct image *image, char text[NOTE_MAX])
{
    size_t size = NOTE_MAX;

    return rbd_metadata_get(image->image, NOTE, text, &size);
}

/*
 * A client that has written it through another server may reconnect there with
 * requests that are older than what is written here. Only that server's records
 * have that.
 */
static int check_server(const struct image *image,
                        const struct backend_spec *spec,
                        struct rdisk_error *err)
{
    char text[NOTE_MAX], server[NOTE_MAX];
    int result = read_note(image, text);

    if (result == -ENOENT || !spec->ceph->server || spec->shared_records) {
        return 0;
    }
    if (result < 0) {
        return image_cannot_open(spec, result, err);
    }
    if (sscanf(text, "%*s %511s", server) == 1 &&
        strcmp(server, spec->ceph->server) != 0) {
        return rdisk_error_set(
            err, -EBUSY,
            "cannot open volume '%s': image '%s' was last written through "
            "another server or state directory (%.64s); if no client can "
            "reconnect there, run 'rbd image-meta remove %s " NOTE "'",
            spec->volume, spec->path, server, spec->path);
    }
    return 0;
}

/* Is @owner an earlier process of the same server? */
static bool is_predecessor(const struct image *image,
                           const struct backend_ceph *ceph, const char *owner)
{
    char note[NOTE_MAX], expected[NOTE_MAX];
    int length;

    if (!ceph->server || read_note(image, note) < 0) {
        return false;
    }
    length = snprintf(expected, sizeof(expected), "%s %s ", owner,
                      ceph->server);
    return strncmp(note, expected, length) == 0 &&
           strcmp(note + length, ceph->instance) != 0;
}

static void break_predecessor(const struct image *image,
                              const struct backend_ceph *ceph)
{
    char owner[256];
    int result = owner_of(image, owner, sizeof(owner));

    if (result == 0 && is_predecessor(image, ceph, owner)) {
        result = rbd_lock_break(image->image, RBD_LOCK_MODE_EXCLUSIVE, owner);
        log_info("volume '%s': the lock of this server's last process, %s, is "
                 "%s",
                 image->volume, owner,
                 result == 0 ? "broken" : strerror(-result));
    }
}

/* Without the note, the next process waits for the cluster. */
static void note(const struct image *image, const struct backend_ceph *ceph)
{
    char owner[256], text[NOTE_MAX];
    int result = owner_of(image, owner, sizeof(owner));

    if (result == 0 && ceph->server) {
        snprintf(text, sizeof(text), "%s %s %s", owner, ceph->server,
                 ceph->instance);
        result = rbd_metadata_set(image->image, NOTE, text);
    }
    if (result < 0) {
        log_warning("volume '%s': cannot note in the image who has its lock: "
                    "%s; if this server is killed, the next one has to wait "
                    "until the cluster has noticed",
                    image->volume, strerror(-result));
    }
}

static int check_feature(const struct image *image,
                         const struct backend_spec *spec,
                         struct rdisk_error *err)
{
    uint64_t features;
    int result = rbd_get_features(image->image, &features);

    if (result == 0 && !(features & RBD_FEATURE_EXCLUSIVE_LOCK)) {
        return rdisk_error_set(
            err, -ENOTSUP,
            "cannot open volume '%s': image '%s' has no exclusive lock, so "
            "others could write it; 'rbd feature enable %s exclusive-lock' "
            "adds it, and read-only = on needs none",
            spec->volume, spec->path, spec->path);
    }
    return result < 0 ? image_cannot_open(spec, result, err) : 0;
}

int image_lock(struct image *image, const struct backend_spec *spec,
               struct rdisk_error *err)
{
    int result = check_feature(image, spec, err);

    if (result < 0) {
        return result;
    }
    break_predecessor(image, spec->ceph);
    result = rbd_lock_acquire(image->image, RBD_LOCK_MODE_EXCLUSIVE);
    if (result == -EBUSY || result == -EROFS || result == -EAGAIN) {
        return rdisk_error_set(err, -EBUSY,
                               "cannot open volume '%s': another client of the "
                               "Ceph cluster has image '%s' open to write; "
                               "with read-only = on it can be served",
                               spec->volume, spec->path);
    }
    if (result < 0) {
        return rdisk_error_set(err, result,
                               "cannot lock image '%s' of volume '%s': %s",
                               spec->path, spec->volume, strerror(-result));
    }
    /* Now no other client changes it. */
    result = check_server(image, spec, err);
    if (result == 0) {
        note(image, spec->ceph);
    }
    return result;
}
