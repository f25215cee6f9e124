/* SPDX-License-Identifier: BSD-3-Clause */
/* An image of a Ceph pool is a volume: the class. */
#include "server/backends/rbd/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/backends/module.h"
#include "server/backends/rbd/pool.h"
#include "server/volume/identity.h"

static const struct backend_class backend_rbd;

/* ---- Opening ------------------------------------------------------------ */

int image_cannot_open(const struct image *image, int result,
                      struct rdisk_error *err)
{
    switch (result) {
    case -ENOENT:
        return rdisk_error_set(err, result,
                               "cannot open volume '%s': the Ceph pool has no "
                               "image or snapshot '%s'",
                               image->volume, image->path);
    case -ETIMEDOUT:
        return rdisk_error_set(err, result,
                               "cannot open volume '%s': the Ceph cluster has "
                               "not answered within op-timeout, %u seconds",
                               image->volume, image->ceph->op_timeout_s);
    default:
        return rdisk_error_set(err, result,
                               "cannot open volume '%s', image '%s': %s",
                               image->volume, image->path, strerror(-result));
    }
}

/* An image is known by its cluster, its pool and its id, whatever its name. */
static int find_identity(const struct image *image, const char *snapshot,
                         char *text, size_t size)
{
    char fsid[40], id[64], revision[2 * RDISK_ID_SIZE + 1];
    uint64_t number = 0;
    int result = rados_cluster_fsid(image->cluster, fsid, sizeof(fsid));

    if (result >= 0) {
        result = rbd_get_id(image->image, id, sizeof(id));
    }
    if (result >= 0) {
        result = image_revision(image, revision, sizeof(revision));
    }
    if (result >= 0 && snapshot) {
        /* Another one may have its name later. */
        result = rbd_snap_get_id(image->image, snapshot, &number);
        snprintf(revision, sizeof(revision), "%" PRIu64, number);
    }
    if (result >= 0) {
        snprintf(text, size, "rbd %s %" PRId64 " %s %s%s", fsid,
                 rados_ioctx_get_id(image->io), id, snapshot ? "@" : "",
                 revision);
    }
    return result < 0 ? result : 0;
}

static int identify(struct image *image, const struct backend_spec *spec,
                    const char *snapshot, struct rdisk_error *err)
{
    char text[256];
    int result = find_identity(image, snapshot, text, sizeof(text));

    if (result < 0) {
        return image_cannot_open(image, result, err);
    }
    identity_of_text(spec->identity ? spec->identity : text,
                     image->base.identity);
    memcpy(image->base.place, image->base.identity, RDISK_ID_SIZE);
    /* Nothing is behind it that could be lost. */
    memcpy(image->base.cache, image->base.identity, RDISK_ID_SIZE);
    return 0;
}

/* Once no revert is to be completed, which may change it. */
static int find_size(struct image *image, struct rdisk_error *err)
{
    uint64_t size;
    int result = rbd_get_size(image->image, &size);

    if (result < 0) {
        return image_cannot_open(image, result, err);
    }
    image->base.geometry.size = size;
    return backend_check_size(image->volume, size, err);
}

/*
 * What every server may open is locked when a client is to write it. A revert
 * that was interrupted is completed by the first one.
 */
static int settle(struct image *image, struct rdisk_error *err)
{
    int result = image_is_reverting(image);
    bool reverting = result == 1;
    bool read_only = image->base.geometry.read_only;

    if (result < 0) {
        return image_cannot_open(image, result, err);
    }
    if (!read_only && (reverting || !image->shared)) {
        result = image_lock(image, false, err);
        image->base.locked = result == 0;
    }
    if (result >= 0 && reverting) {
        result = image_finish_revert(image, err);
    }
    if (image->base.locked && image->shared) {
        image_unlock(image);
        image->base.locked = false;
    }
    return result < 0 ? result : find_size(image, err);
}

static int open_image(struct image *image, const struct backend_spec *spec,
                      const struct rbd_path *path, struct rdisk_error *err)
{
    bool read_only = spec->read_only || path->snapshot;
    int result = cluster_pool(image->cluster, path, spec->volume, &image->io,
                              err);

    if (result < 0) {
        return result;
    }
    result = read_only ? rbd_open_read_only(image->io, path->image,
                                            &image->image, path->snapshot)
                       : rbd_open(image->io, path->image, &image->image, NULL);
    if (result < 0) {
        return image_cannot_open(image, result, err);
    }
    image->base.geometry = (struct backend_geometry) {
        .block_size = RDISK_BLOCK_SIZE_MIN,
        .optimal_size = RDISK_BLOCK_SIZE_MAX,
        .read_only = read_only,
        .discard = true,
        .zeroes = true,
        .extents = true,
    };
    result = path->snapshot ? find_size(image, err) : settle(image, err);
    return result < 0 ? result : identify(image, spec, path->snapshot, err);
}

static void image_close(struct backend *backend)
{
    struct image *image = image_of(backend);

    if (image->image) {
        rbd_close(image->image);
    }
    if (image->io) {
        rados_ioctx_destroy(image->io);
    }
    if (image->cluster) {
        cluster_shut_down(image->cluster, image->waiting);
    }
    free(image->path);
    free(image->volume);
    free(image);
}

static int check_spec(const struct backend_spec *spec, struct rdisk_error *err)
{
    if (!spec->path || spec->size) {
        return rdisk_error_set(err, -EINVAL,
                               "volume '%s' is an RBD image: it needs path=, "
                               "and has no size=",
                               spec->volume);
    }
    return backend_not_polled(spec, "it is an RBD image", err);
}

/* NULL: no memory. */
static struct image *image_new(const struct backend_spec *spec)
{
    struct image *image = calloc(1, sizeof(*image));

    if (!image) {
        return NULL;
    }
    image->base.class = &backend_rbd;
    image->base.lasting = true;
    image->ceph = spec->ceph;
    image->shared = spec->shared_records;
    image->volume = strdup(spec->volume);
    image->path = strdup(spec->path);
    if (!image->volume || !image->path) {
        image_close(&image->base);
        return NULL;
    }
    return image;
}

static struct backend *image_open(const struct backend_spec *spec,
                                  struct rdisk_error *err)
{
    struct rbd_path path;
    struct image *image;
    int result;

    if (check_spec(spec, err) < 0 ||
        rbd_path_parse(&path, spec->volume, spec->path, err) < 0) {
        return NULL;
    }
    image = image_new(spec);
    if (!image) {
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                        spec->volume);
        free(path.pool);
        return NULL;
    }
    image->cluster = cluster_connect(spec->ceph, spec->volume, err);
    result = image->cluster ? open_image(image, spec, &path, err) : -EIO;
    free(path.pool);
    if (result < 0) {
        image_close(&image->base);
        return NULL;
    }
    return &image->base;
}

/* ---- An open image ------------------------------------------------------ */

/* Others may have changed it between open and lock. */
static int check_unchanged(struct image *image, struct rdisk_error *err)
{
    uint8_t identity[RDISK_ID_SIZE];
    char text[256];
    uint64_t size;
    int result = rbd_get_size(image->image, &size);

    if (result == 0) {
        result = image_is_reverting(image);
    }
    if (result >= 0) {
        bool reverting = result == 1;

        result = find_identity(image, NULL, text, sizeof(text));
        identity_of_text(text, identity);
        if (result == 0 &&
            (reverting || size != image->base.geometry.size ||
             memcmp(identity, image->base.identity, sizeof(identity)) != 0)) {
            return rdisk_error_set(err, -ESTALE,
                                   "volume '%s' was changed by another server "
                                   "while it was open",
                                   image->volume);
        }
    }
    return result < 0 ? image_cannot_open(image, result, err) : 0;
}

static int class_lock(struct backend *backend, bool force,
                      struct rdisk_error *err)
{
    struct image *image = image_of(backend);
    int result = image_lock(image, force, err);

    if (result == 0) {
        result = check_unchanged(image, err);
        if (result < 0) {
            image_unlock(image);
        }
    }
    return result;
}

static void class_unlock(struct backend *backend)
{
    image_unlock(image_of(backend));
}

static int image_resize(struct backend *backend, uint64_t size,
                        struct rdisk_error *err)
{
    struct image *image = image_of(backend);
    int result = size < backend->geometry.size
                     ? image_alone(image, "shrink", err)
                     : 0;

    if (result < 0) {
        return result;
    }
    result = rbd_resize(image->image, size);
    return result < 0
               ? rdisk_error_set(err, result, "cannot resize volume '%s': %s",
                                 image->volume, strerror(-result))
               : 0;
}

static int image_sync(struct backend *backend, struct rdisk_error *err)
{
    struct image *image = image_of(backend);
    int result = rbd_flush(image->image);

    return result < 0
               ? rdisk_error_set(err, result, "cannot flush volume '%s': %s",
                                 image->volume, strerror(-result))
               : 0;
}

static const struct backend_class backend_rbd = {
    .name = "rbd",
    .has_path = true,
    .pool = &ceph_pool,
    .open = image_open,
    .close = image_close,
    .lock = class_lock,
    .unlock = class_unlock,
    .resize = image_resize,
    .sync = image_sync,
    .parent = image_parent,
    .flatten = image_flatten,
    .allocated = image_allocated,
    .join = image_join,
    .leave = image_leave,
    .submit = image_submit,
};

const struct backend_module rdisk_backend_module = {
    .version = RDISK_VERSION,
    .class = &backend_rbd,
};
