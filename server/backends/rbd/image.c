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

int image_cannot_open(const struct backend_spec *spec, int result,
                      struct rdisk_error *err)
{
    switch (result) {
    case -ENOENT:
        return rdisk_error_set(err, result,
                               "cannot open volume '%s': the Ceph pool has no "
                               "image or snapshot '%s'",
                               spec->volume, spec->path);
    case -ETIMEDOUT:
        return rdisk_error_set(err, result,
                               "cannot open volume '%s': the Ceph cluster has "
                               "not answered within op-timeout, %u seconds",
                               spec->volume, spec->ceph->op_timeout_s);
    default:
        return rdisk_error_set(err, result,
                               "cannot open volume '%s', image '%s': %s",
                               spec->volume, spec->path, strerror(-result));
    }
}

/* An image is known by its cluster, its pool and its id, whatever its name. */
static int identify(struct image *image, const struct backend_spec *spec,
                    const char *snapshot, struct rdisk_error *err)
{
    char fsid[40], id[64], revision[2 * RDISK_ID_SIZE + 1], text[256];
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
    if (result < 0) {
        return image_cannot_open(spec, result, err);
    }
    snprintf(text, sizeof(text), "rbd %s %" PRId64 " %s %s%s", fsid,
             rados_ioctx_get_id(image->io), id, snapshot ? "@" : "", revision);
    identity_of_text(spec->identity ? spec->identity : text,
                     image->base.identity);
    memcpy(image->base.place, image->base.identity, RDISK_ID_SIZE);
    /* Nothing is behind it that could be lost. */
    memcpy(image->base.cache, image->base.identity, RDISK_ID_SIZE);
    return 0;
}

/* Once no revert is to be completed, which may change it. */
static int find_size(struct image *image, const struct backend_spec *spec,
                     struct rdisk_error *err)
{
    uint64_t size;
    int result = rbd_get_size(image->image, &size);

    if (result < 0) {
        return image_cannot_open(spec, result, err);
    }
    image->base.geometry.size = size;
    return backend_check_size(spec->volume, size, err);
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
        return image_cannot_open(spec, result, err);
    }
    image->base.geometry = (struct backend_geometry) {
        .block_size = RDISK_BLOCK_SIZE_MIN,
        .optimal_size = RDISK_BLOCK_SIZE_MAX,
        .read_only = read_only,
        .discard = true,
        .zeroes = true,
        .extents = true,
    };
    if (!read_only) {
        result = image_lock(image, spec, err);
    }
    if (result == 0 && !path->snapshot) {
        result = image_finish_revert(image, spec, err);
    }
    if (result == 0) {
        result = find_size(image, spec, err);
    }
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
        rados_shutdown(image->cluster);
    }
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
    image = calloc(1, sizeof(*image));
    if (!image || !(image->volume = strdup(spec->volume))) {
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                        spec->volume);
        free(image);
        free(path.pool);
        return NULL;
    }
    image->base.class = &backend_rbd;
    image->base.lasting = true;
    image->op_timeout = spec->ceph->op_timeout_s;
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

static int image_resize(struct backend *backend, uint64_t size,
                        struct rdisk_error *err)
{
    struct image *image = image_of(backend);
    int result = rbd_resize(image->image, size);

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

/* As many bytes of it as there are objects or parts of them, which is what
 * `rbd du` says. */
static int count(uint64_t offset, size_t length, int exists, void *opaque)
{
    *(uint64_t *)opaque += exists ? length : 0;
    return 0;
}

static int image_allocated(struct backend *backend, uint64_t *bytes)
{
    *bytes = 0;
    return rbd_diff_iterate2(image_of(backend)->image, NULL, 0,
                             backend->geometry.size, 0, 1, count, bytes);
}

static const struct backend_class backend_rbd = {
    .name = "rbd",
    .has_path = true,
    .pool = &ceph_pool,
    .open = image_open,
    .close = image_close,
    .resize = image_resize,
    .sync = image_sync,
    .allocated = image_allocated,
    .join = image_join,
    .leave = image_leave,
    .submit = image_submit,
};

const struct backend_module rdisk_backend_module = {
    .version = RDISK_VERSION,
    .class = &backend_rbd,
};
