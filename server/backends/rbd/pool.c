/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/backends/rbd/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <rbd/librbd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/backends/rbd/cluster.h"
#include "server/backends/rbd/snapshot.h"

#define MAX_ERRNO 4095

struct backend_pool {
    rados_t cluster;
    rados_ioctx_t io;
    char *place; /* POOL or POOL/NAMESPACE, for messages */
};

/* ---- The connection ----------------------------------------------------- */

static void pool_close(struct backend_pool *pool)
{
    if (pool->io) {
        rados_ioctx_destroy(pool->io);
    }
    if (pool->cluster) {
        rados_shutdown(pool->cluster);
    }
    free(pool->place);
    free(pool);
}

/* @place with some image is a path. */
static int enter(struct backend_pool *pool, struct rdisk_error *err)
{
    struct rbd_path path;
    char *text;
    int result;

    if (asprintf(&text, "%s/x", pool->place) < 0) {
        return rdisk_error_set(err, -ENOMEM, "no memory for the pool");
    }
    result = rbd_path_parse(&path, pool->place, text, err);
    free(text);
    if (result < 0) {
        return rdisk_error_set(err, -EINVAL,
                               "directory = %s of the pool of backend rbd is "
                               "not POOL or POOL/NAMESPACE",
                               pool->place);
    }
    result = cluster_pool(pool->cluster, &path, pool->place, &pool->io, err);
    free(path.pool);
    return result;
}

static struct backend_pool *pool_open(const struct backend_ceph *ceph,
                                      const char *place,
                                      struct rdisk_error *err)
{
    struct backend_pool *pool = calloc(1, sizeof(*pool));

    if (!pool || !(pool->place = strdup(place))) {
        rdisk_error_set(err, -ENOMEM, "no memory for the pool");
        free(pool);
        return NULL;
    }
    pool->cluster = cluster_connect(ceph, place, err);
    if (!pool->cluster || enter(pool, err) < 0) {
        pool_close(pool);
        return NULL;
    }
    return pool;
}

/* ---- The list ----------------------------------------------------------- */

/*
 * The size of image @id, as its header says. Opening it would take ten times as
 * long, and a list has all of them. 0 or a negative errno.
 */
static int size_of(rados_ioctx_t io, const char *id, uint64_t *size)
{
    const uint64_t head = htole64(UINT64_MAX - 1); /* not a snapshot's */
    char name[128];
    struct __attribute__((packed)) {
        uint8_t order;
        uint64_t size; /* little endian */
    } reply;
    int result;

    snprintf(name, sizeof(name), "rbd_header.%s", id);
    result = rados_exec(io, name, "rbd", "get_size", (const char *)&head,
                        sizeof(head), (char *)&reply, sizeof(reply));
    if (result != sizeof(reply)) {
        return result < 0 ? result : -EIO;
    }
    *size = le64toh(reply.size);
    return 0;
}

/* Until the array was large enough. @images is to be freed. */
static int list_images(rados_ioctx_t io, rbd_image_spec_t **images,
                       size_t *count)
{
    int result = -ERANGE;

    *images = NULL;
    for (*count = 64; result == -ERANGE;) {
        rbd_image_spec_t *more = realloc(*images, *count * sizeof(**images));

        if (!more) {
            return -ENOMEM;
        }
        *images = more;
        result = rbd_list2(io, *images, count);
    }
    return result < 0 ? result : 0;
}

static int pool_list(struct backend_pool *pool,
                     bool (*add)(void *opaque, const char *name, uint64_t size),
                     void *opaque, struct rdisk_error *err)
{
    rbd_image_spec_t *images;
    size_t count;
    int result = list_images(pool->io, &images, &count);
    uint64_t size;

    if (result < 0) {
        free(images);
        return rdisk_error_set(err, result,
                               "cannot list the images of Ceph pool '%s': %s",
                               pool->place, strerror(-result));
    }
    for (size_t i = 0; i < count && result == 0; i++) {
        /* One that is deleted meanwhile is none. */
        if (size_of(pool->io, images[i].id, &size) == 0 &&
            !add(opaque, images[i].name, size)) {
            result = rdisk_error_set(err, -ENOMEM, "no memory for the pool");
        }
    }
    rbd_image_spec_list_cleanup(images, count);
    free(images);
    return result;
}

/* ---- Changes ------------------------------------------------------------ */

static int pool_create(struct backend_pool *pool, const char *name,
                       uint64_t size, struct rdisk_error *err)
{
    rbd_image_options_t options;
    int result;

    if (strchr(name, '@')) {
        return rdisk_error_set(err, -EINVAL,
                               "cannot create volume '%s': in a Ceph pool, a "
                               "name with '@' is a snapshot's",
                               name);
    }
    rbd_image_options_create(&options);
    /* Besides the cluster's defaults: without it, it could not be written. */
    rbd_image_options_set_uint64(options, RBD_IMAGE_OPTION_FEATURES_SET,
                                 RBD_FEATURE_EXCLUSIVE_LOCK);
    result = rbd_create4(pool->io, name, size, options);
    rbd_image_options_destroy(options);
    switch (result) {
    case 0:
        return 0;
    case -EEXIST:
        return rdisk_error_set(err, result, "volume '%s' already exists", name);
    default:
        return rdisk_error_set(err, result,
                               "cannot create volume '%s' in Ceph pool '%s': "
                               "%s",
                               name, pool->place, strerror(-result));
    }
}

/* ---- Snapshots ---------------------------------------------------------- */

static int pool_snapshot_delete(struct backend_pool *pool, const char *image,
                                const char *snapshot, struct rdisk_error *err)
{
    return snapshot_delete(pool->io, image, snapshot, err);
}

static int pool_snapshots(struct backend_pool *pool, const char *image,
                          bool (*add)(void *opaque, const char *snapshot,
                                      uint64_t size, uint64_t taken),
                          void *opaque, struct rdisk_error *err)
{
    return snapshot_list(pool->io, image, add, opaque, err);
}

static int pool_held(struct backend_pool *pool, const char *image,
                     unsigned int *count, uint64_t *bytes,
                     struct rdisk_error *err)
{
    return usage_of_snapshots(pool->io, image, count, bytes, err);
}

static int pool_clone(struct backend_pool *pool, const char *image,
                      const char *snapshot, const char *name,
                      struct rdisk_error *err)
{
    return snapshot_clone(pool->io, image, snapshot, name, err);
}

static int pool_delete(struct backend_pool *pool, const char *name,
                       struct rdisk_error *err)
{
    int result = rbd_remove(pool->io, name);

    switch (result) {
    case 0:
        return 0;
    case -ENOENT:
        return rdisk_error_set(err, result, "there is no volume '%s'", name);
    case -EBUSY:
        return rdisk_error_set(err, result,
                               "cannot delete volume '%s': another client of "
                               "the Ceph cluster has the image open",
                               name);
    case -ENOTEMPTY:
        return rdisk_error_set(err, -EBUSY,
                               "cannot delete volume '%s': clones need its "
                               "data, or Ceph keeps snapshots of it for itself",
                               name);
    default:
        return rdisk_error_set(err, result, "cannot delete volume '%s': %s",
                               name, strerror(-result));
    }
}

/* ---- Texts -------------------------------------------------------------- */

/* Images' objects begin with "rbd". */
static void object_name(const char *name, char object[80])
{
    snprintf(object, 80, "rdisk.record.%.60s", name);
}

static int pool_read(struct backend_pool *pool, const char *name, char *text,
                     size_t size)
{
    char object[80];
    int result;

    object_name(name, object);
    result = rados_read(pool->io, object, text, size - 1, 0);
    if (result < 0) {
        return result;
    }
    text[result] = '\0';
    return 0;
}

/* One operation on one object, which the OSD carries out whole or not at
 * all. */
static int pool_swap(struct backend_pool *pool, const char *name,
                     const char *before, const char *after)
{
    rados_write_op_t op;
    char object[80];
    int result;

    object_name(name, object);
    if (!after) {
        result = rados_remove(pool->io, object);
        return result == -ENOENT ? 0 : result;
    }
    op = rados_create_write_op();
    if (before) {
        rados_write_op_assert_exists(op);
        rados_write_op_cmpext(op, before, strlen(before), 0, NULL);
    } else {
        rados_write_op_create(op, LIBRADOS_CREATE_EXCLUSIVE, NULL);
    }
    rados_write_op_write_full(op, after, strlen(after));
    result = rados_write_op_operate(op, pool->io, object, NULL, 0);
    rados_release_write_op(op);
    /* Below the errnos is the offset of the first byte that differs. */
    if (result == -EEXIST || result == -ENOENT || result <= -MAX_ERRNO) {
        return -ESTALE;
    }
    return result;
}

/* Whatever they answer. */
static int pool_ping(struct backend_pool *pool)
{
    const char *commands[] = { "{\"prefix\": \"version\"}" };
    char *out = NULL, *status = NULL;
    size_t out_length, status_length;
    int result = rados_mon_command(pool->cluster, commands, 1, NULL, 0, &out,
                                   &out_length, &status, &status_length);

    rados_buffer_free(out);
    rados_buffer_free(status);
    return result;
}

const struct backend_pool_class ceph_pool = {
    .open = pool_open,
    .close = pool_close,
    .list = pool_list,
    .create = pool_create,
    .delete = pool_delete,
    .read = pool_read,
    .swap = pool_swap,
    .ping = pool_ping,
    .snapshot = image_snapshot,
    .snapshot_delete = pool_snapshot_delete,
    .snapshots = pool_snapshots,
    .revert = image_revert,
    .held = pool_held,
    .clone = pool_clone,
};
