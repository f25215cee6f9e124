/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots of an image: Ceph's own. A job's thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/backends/rbd/image.h"
#include "server/backends/rbd/snapshot.h"
#include "server/volume/identity.h"

/* Of which clone() makes an image; no snapshot of a volume is named so. */
#define UNNAMED ".rdisk-clone"
/* In the image's metadata: a revert to this snapshot is not complete. The
 * image's id follows: a clone has a copy of it, and is not being reverted. */
#define REVERTING "rdisk.reverting."
/* The same: what its identity depends on besides what Ceph calls it. */
#define REVISION "rdisk.revision"

/* ---- Create ------------------------------------------------------------- */

static int cannot(const struct image *image, const char *snapshot, int result,
                  struct rdisk_error *err)
{
    switch (result) {
    case -EEXIST:
        return rdisk_error_set(err, result, "volume '%s@%s' already exists",
                               image->volume, snapshot);
    case -ENOENT:
        return rdisk_error_set(err, result, "there is no snapshot '%s@%s'",
                               image->volume, snapshot);
    default:
        return rdisk_error_set(err, result,
                               "the Ceph cluster cannot make or use snapshot "
                               "'%s' of volume '%s': %s",
                               snapshot, image->volume, strerror(-result));
    }
}

int image_snapshot(struct backend *backend, const char *snapshot,
                   struct rdisk_error *err)
{
    struct image *image = image_of(backend);
    int result;

    if (!snapshot[0]) {
        /* That of a clone which was not completed. */
        snapshot = UNNAMED;
        rbd_snap_remove(image->image, snapshot);
    }
    result = rbd_snap_create(image->image, snapshot);
    return result < 0 ? cannot(image, snapshot, result, err) : 0;
}

/* ---- Revert ------------------------------------------------------------- */

struct note {
    char key[sizeof(REVERTING) + 64];
};

static int find_note(rbd_image_t image, struct note *note)
{
    char id[64];
    int result = rbd_get_id(image, id, sizeof(id));

    snprintf(note->key, sizeof(note->key), REVERTING "%s",
             result < 0 ? "" : id);
    return result < 0 ? result : 0;
}

/* -ENOENT: it is not being reverted. */
static int read_note(rbd_image_t image,
                     char snapshot[RDISK_VOLUME_NAME_MAX + 1])
{
    size_t size = RDISK_VOLUME_NAME_MAX + 1;
    struct note note;
    int result = find_note(image, &note);

    return result < 0 ? result
                      : rbd_metadata_get(image, note.key, snapshot, &size);
}

static int write_note(rbd_image_t image, const char *snapshot)
{
    struct note note;
    int result = find_note(image, &note);

    return result < 0 ? result : rbd_metadata_set(image, note.key, snapshot);
}

static int remove_note(rbd_image_t image)
{
    struct note note;
    int result = find_note(image, &note);

    return result < 0 ? result : rbd_metadata_remove(image, note.key);
}

static int roll_back(struct image *image, const char *snapshot)
{
    int result = rbd_snap_rollback(image->image, snapshot);

    return result < 0 ? result : remove_note(image->image);
}

/* From the note on no server of ours deletes the snapshot; one may have before.
 */
static int check_noted(const struct image *image, const char *snapshot)
{
    bool exists = false;
    int result = rbd_snap_exists(image->image, snapshot, &exists);

    if (result == 0 && !exists) {
        result = remove_note(image->image);
        return result < 0 ? result : -ENOENT;
    }
    return result;
}

/*
 * It takes as long as the image is large, and a part of it would be no data of
 * any moment; so the intent is noted first, and the next opening of the image
 * carries it out again. The identity changes before the data does.
 */
int image_revert(struct backend *backend, const char *snapshot,
                 struct rdisk_error *err)
{
    struct image *image = image_of(backend);
    uint8_t random[RDISK_ID_SIZE];
    char revision[2 * RDISK_ID_SIZE + 1];
    bool exists = false;
    int result = image_alone(image, "revert", err);

    if (result < 0) {
        return result;
    }
    result = rbd_snap_exists(image->image, snapshot, &exists);
    if (result == 0 && !exists) {
        result = -ENOENT;
    }
    identity_random(random);
    for (size_t i = 0; i < sizeof(random); i++) {
        snprintf(revision + 2 * i, 3, "%02x", random[i]);
    }
    if (result == 0) {
        result = rbd_metadata_set(image->image, REVISION, revision);
    }
    if (result == 0) {
        result = write_note(image->image, snapshot);
    }
    if (result == 0) {
        result = check_noted(image, snapshot);
    }
    if (result == 0) {
        result = roll_back(image, snapshot);
    }
    return result < 0 ? cannot(image, snapshot, result, err) : 0;
}

int image_is_reverting(const struct image *image)
{
    char snapshot[RDISK_VOLUME_NAME_MAX + 1];
    int result = read_note(image->image, snapshot);

    return result == -ENOENT ? 0 : result < 0 ? result : 1;
}

int image_finish_revert(struct image *image, struct rdisk_error *err)
{
    char snapshot[RDISK_VOLUME_NAME_MAX + 1];
    int result = read_note(image->image, snapshot);

    if (result == -ENOENT) {
        return 0;
    }
    if (result == 0 && image->base.geometry.read_only) {
        return rdisk_error_set(
            err, -EBUSY,
            "cannot open volume '%s': image '%s' is being "
            "reverted to its snapshot '%s'; if no server does "
            "that any more, open it to write, which "
            "completes it",
            image->volume, image->path, snapshot);
    }
    if (result == 0) {
        log_info("volume '%s': its revert to snapshot '%s' was interrupted: "
                 "completing it",
                 image->volume, snapshot);
        result = roll_back(image, snapshot);
    }
    return result < 0 ? image_cannot_open(image, result, err) : 0;
}

int image_revision(const struct image *image, char *text, size_t size)
{
    int result = rbd_metadata_get(image->image, REVISION, text, &size);

    if (result == -ENOENT) {
        text[0] = '\0';
        return 0;
    }
    return result;
}

/* ---- Of an image that is not open --------------------------------------- */

static int image_cannot(const char *volume, int result, struct rdisk_error *err)
{
    return result == -ENOENT
               ? rdisk_error_set(err, result, "there is no volume '%s'", volume)
               : rdisk_error_set(err, result,
                                 "the Ceph cluster cannot open volume '%s': %s",
                                 volume, strerror(-result));
}

/* What a revert that is to be completed needs of @image stays. */
static int check_unneeded(const struct image *image, const char *snapshot,
                          struct rdisk_error *err)
{
    char needed[RDISK_VOLUME_NAME_MAX + 1];
    int result = read_note(image->image, needed);

    if (result == -ENOENT || (result == 0 && strcmp(needed, snapshot) != 0)) {
        return 0;
    }
    if (result < 0) {
        return image_cannot(image->volume, result, err);
    }
    return rdisk_error_set(err, -EBUSY,
                           "cannot delete snapshot '%s@%s': its volume is "
                           "being reverted to it; if no server does that any "
                           "more, open the volume to write, which completes it",
                           image->volume, snapshot);
}

/* Of an image that is open. */
static int delete_one(const struct image *image, const char *snapshot,
                      struct rdisk_error *err)
{
    int result = check_unneeded(image, snapshot, err);

    if (result < 0) {
        return result;
    }
    result = rbd_snap_remove(image->image, snapshot);
    if (result == -EBUSY) {
        return rdisk_error_set(err, result,
                               "cannot delete snapshot '%s@%s': it is "
                               "protected; 'rbd snap unprotect' permits it",
                               image->volume, snapshot);
    }
    return result < 0 ? cannot(image, snapshot, result, err) : 0;
}

int snapshot_delete(rados_ioctx_t io, const char *name, const char *snapshot,
                    struct rdisk_error *err)
{
    struct image image = { .volume = (char *)name };
    int result = rbd_open(io, name, &image.image, NULL);

    if (result < 0) {
        return image_cannot(name, result, err);
    }
    result = delete_one(&image, snapshot[0] ? snapshot : UNNAMED, err);
    rbd_close(image.image);
    return result;
}

int snapshot_infos(rbd_image_t image, rbd_snap_info_t **snaps, int *count)
{
    int result = -ERANGE;

    *snaps = NULL;
    for (*count = 16; result == -ERANGE;) {
        rbd_snap_info_t *more = realloc(*snaps, *count * sizeof(**snaps));

        if (!more) {
            *count = -ENOMEM;
            return -ENOMEM;
        }
        *snaps = more;
        result = rbd_snap_list(image, *snaps, count);
    }
    *count = result;
    return result < 0 ? result : 0;
}

void snapshot_infos_free(rbd_snap_info_t *snaps, int count)
{
    if (count >= 0 && snaps) {
        rbd_snap_list_end(snaps);
    }
    free(snaps);
}

bool snapshot_is_visible(const char *name)
{
    return strcmp(name, UNNAMED) != 0;
}

bool snapshot_is_listed(rbd_image_t image, const rbd_snap_info_t *snap)
{
    rbd_snap_namespace_type_t type;

    return rbd_snap_get_namespace_type(image, snap->id, &type) == 0 &&
           type == RBD_SNAP_NAMESPACE_TYPE_USER &&
           snapshot_is_visible(snap->name);
}

static bool add_one(rbd_image_t image, const rbd_snap_info_t *snap,
                    bool (*add)(void *opaque, const char *snapshot,
                                uint64_t size, uint64_t taken),
                    void *opaque)
{
    struct timespec taken = { 0 };

    if (!snapshot_is_listed(image, snap)) {
        return true;
    }
    rbd_snap_get_timestamp(image, snap->id, &taken);
    return add(opaque, snap->name, snap->size, taken.tv_sec);
}

int snapshot_list(rados_ioctx_t io, const char *name,
                  bool (*add)(void *opaque, const char *snapshot, uint64_t size,
                              uint64_t taken),
                  void *opaque, struct rdisk_error *err)
{
    rbd_snap_info_t *snaps;
    rbd_image_t image;
    int count, result = rbd_open_read_only(io, name, &image, NULL);

    if (result < 0) {
        return image_cannot(name, result, err);
    }
    result = snapshot_infos(image, &snaps, &count);
    if (result < 0) {
        image_cannot(name, result, err);
    }
    for (int i = 0; i < count && result == 0; i++) {
        if (!add_one(image, &snaps[i], add, opaque)) {
            result = rdisk_error_set(err, -ENOMEM, "no memory for the pool");
        }
    }
    snapshot_infos_free(snaps, count);
    rbd_close(image);
    return result;
}

/* ---- Clone -------------------------------------------------------------- */

int snapshot_clone(rados_ioctx_t io, const char *name, const char *snapshot,
                   const char *clone, struct rdisk_error *err)
{
    rbd_image_options_t options;
    int result;

    rbd_image_options_create(&options);
    rbd_image_options_set_uint64(options, RBD_IMAGE_OPTION_FEATURES_SET,
                                 RBD_FEATURE_EXCLUSIVE_LOCK);
    /* Its snapshot needs no protection, and can be deleted before it. */
    rbd_image_options_set_uint64(options, RBD_IMAGE_OPTION_CLONE_FORMAT, 2);
    result = rbd_clone3(io, name, snapshot[0] ? snapshot : UNNAMED, io, clone,
                        options);
    rbd_image_options_destroy(options);
    switch (result) {
    case 0:
        return 0;
    case -EEXIST:
        return rdisk_error_set(err, result, "volume '%s' already exists",
                               clone);
    case -ENOENT:
        return rdisk_error_set(err, result, "there is no snapshot '%s@%s'",
                               name, snapshot);
    default:
        return rdisk_error_set(err, result,
                               "the Ceph cluster cannot clone snapshot '%s' "
                               "of volume '%s': %s",
                               snapshot, name, strerror(-result));
    }
}
