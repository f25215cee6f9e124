/* SPDX-License-Identifier: BSD-3-Clause */
/* What an image takes up, and what it needs of another one. A job's thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/backends/rbd/image.h"
#include "server/backends/rbd/snapshot.h"

/* ---- Space -------------------------------------------------------------- */

/* As many bytes of it as there are objects or parts of them, which is what
 * `rbd du` says. */
static int count(uint64_t offset, size_t length, int exists, void *opaque)
{
    *(uint64_t *)opaque += exists ? length : 0;
    return 0;
}

/* What @image, as it is open, has that its snapshot @since has not; NULL: all.
 * Added to *@bytes. 0 or a negative errno. */
static int add_changes(rbd_image_t image, const char *since, uint64_t *bytes)
{
    uint64_t size;
    int result = rbd_get_size(image, &size);

    return result < 0
               ? result
               : rbd_diff_iterate2(image, since, 0, size, 0, 1, count, bytes);
}

int image_allocated(struct backend *backend, uint64_t *bytes)
{
    *bytes = 0;
    return add_changes(image_of(backend)->image, NULL, bytes);
}

/* Of all snapshots and the image itself, each what it has besides the one
 * before it. */
static int add_all(rbd_image_t image, const rbd_snap_info_t *snaps, int number,
                   unsigned int *named, uint64_t *bytes)
{
    const char *since = NULL;
    int result = 0;

    for (int i = 0; i < number && result == 0; i++) {
        if (!snapshot_is_listed(image, &snaps[i])) {
            continue;
        }
        result = rbd_snap_set(image, snaps[i].name);
        if (result == 0) {
            result = add_changes(image, since, bytes);
        }
        since = snaps[i].name;
        ++*named;
    }
    if (result == 0) {
        result = rbd_snap_set(image, NULL);
    }
    return result < 0 ? result : add_changes(image, since, bytes);
}

/* In a handle of its own, since it looks at the snapshots. */
static int measure(rbd_image_t image, unsigned int *named, uint64_t *bytes)
{
    rbd_snap_info_t *snaps;
    uint64_t all = 0, own = 0;
    int number, result = snapshot_infos(image, &snaps, &number);

    *named = 0;
    if (result == 0) {
        result = add_changes(image, NULL, &own);
    }
    if (result == 0) {
        result = add_all(image, snaps, number, named, &all);
    }
    *bytes = all > own ? all - own : 0;
    snapshot_infos_free(snaps, number);
    return result;
}

int usage_of_snapshots(rados_ioctx_t io, const char *name, unsigned int *named,
                       uint64_t *bytes, struct rdisk_error *err)
{
    rbd_image_t image;
    int result = rbd_open_read_only(io, name, &image, NULL);

    if (result == 0) {
        result = measure(image, named, bytes);
        rbd_close(image);
    }
    return result < 0
               ? rdisk_error_set(err, result,
                                 "cannot find out what the snapshots of volume "
                                 "'%s' take up: %s",
                                 name, strerror(-result))
               : 0;
}

/* ---- Parent ------------------------------------------------------------- */

/* Its snapshot is named if that is one which people see. */
static void name_parent(const struct image *image,
                        const rbd_linked_image_spec_t *parent,
                        const rbd_snap_spec_t *snap, char *text, size_t size)
{
    bool elsewhere = parent->pool_id != rados_ioctx_get_id(image->io);
    bool named = snap->namespace_type == RBD_SNAP_NAMESPACE_TYPE_USER &&
                 snapshot_is_visible(snap->name);

    snprintf(text, size, "%s%s%s%s%s", elsewhere ? parent->pool_name : "",
             elsewhere ? "/" : "", parent->image_name, named ? "@" : "",
             named ? snap->name : "");
}

int image_parent(struct backend *backend, char *text, size_t size)
{
    const struct image *image = image_of(backend);
    rbd_linked_image_spec_t parent;
    rbd_snap_spec_t snap;
    int result = rbd_get_parent(image->image, &parent, &snap);

    text[0] = '\0';
    if (result == -ENOENT) {
        return 0;
    }
    if (result < 0) {
        return result;
    }
    name_parent(image, &parent, &snap, text, size);
    rbd_linked_image_spec_cleanup(&parent);
    rbd_snap_spec_cleanup(&snap);
    return 0;
}

/* ---- Flatten ------------------------------------------------------------ */

struct report {
    bool (*progress)(void *opaque, uint64_t done, uint64_t total);
    void *opaque;
};

/* A negative value ends the copy. */
static int report(uint64_t done, uint64_t total, void *opaque)
{
    const struct report *to = opaque;

    return to->progress(to->opaque, done, total) ? 0 : -ECANCELED;
}

int image_flatten(struct backend *backend,
                  bool (*progress)(void *opaque, uint64_t done, uint64_t total),
                  void *opaque, struct rdisk_error *err)
{
    struct image *image = image_of(backend);
    struct report to = { progress, opaque };
    int result = rbd_flatten_with_progress(image->image, report, &to);

    return result < 0
               ? rdisk_error_set(err, result, "cannot flatten volume '%s': %s",
                                 image->volume, strerror(-result))
               : 0;
}
