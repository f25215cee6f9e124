/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/backends/rbd/cluster.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The path ---------------------------------------------------------- */

static int bad_path(const char *volume, const char *text,
                    struct rdisk_error *err)
{
    return rdisk_error_set(err, -EINVAL,
                           "path = %s of volume '%s' is not "
                           "POOL/IMAGE, POOL/NAMESPACE/IMAGE, or one of them "
                           "with @SNAPSHOT",
                           text, volume);
}

int rbd_path_parse(struct rbd_path *path, const char *volume, const char *text,
                   struct rdisk_error *err)
{
    char *first, *second, *at;

    *path = (struct rbd_path) { .pool = strdup(text), .space = "" };
    if (!path->pool) {
        return rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                               volume);
    }
    first = strchr(path->pool, '/');
    if (!first) {
        free(path->pool);
        return bad_path(volume, text, err);
    }
    *first++ = '\0';
    second = strchr(first, '/');
    path->image = first;
    if (second) {
        *second++ = '\0';
        path->space = first;
        path->image = second;
    }
    at = strchr(path->image, '@');
    if (at) {
        *at++ = '\0';
        path->snapshot = at;
    }
    if (!path->pool[0] || !path->image[0] || strchr(path->image, '/') ||
        (second && !path->space[0]) || (at && (!at[0] || strpbrk(at, "/@")))) {
        free(path->pool);
        return bad_path(volume, text, err);
    }
    return 0;
}

/* ---- The connection ----------------------------------------------------- */

static int set(rados_t cluster, const char *option, const char *value,
               struct rdisk_error *err)
{
    int result = rados_conf_set(cluster, option, value);

    return result < 0 ? rdisk_error_set(err, result,
                                        "librados does not accept %s = %s: %s",
                                        option, value, strerror(-result))
                      : 0;
}

static int set_seconds(rados_t cluster, const char *option,
                       unsigned int seconds, struct rdisk_error *err)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", seconds);
    return set(cluster, option, text, err);
}

/*
 * What a volume's consistency, and the bound of each wait, depend on; it
 * overrides the file.
 */
static int set_options(rados_t cluster, const struct backend_ceph *ceph,
                       struct rdisk_error *err)
{
    static const struct {
        const char *option, *value;
    } fixed[] = {
        /* What is answered is on stable storage. */
        { "rbd_cache", "false" },
        /* Who breaks a lock fences the one that had it. */
        { "rbd_blocklist_on_break_lock", "true" },
        /* librbd 16 never completes a write that it refuses for the loss of
         * its lock while it refers to our memory. */
        { "rbd_disable_zero_copy_writes", "true" },
        { "librados_thread_count", "1" },
        { "ms_async_op_threads", "1" },
        /* The server's stderr is its log's, which no other thread waits for. */
        { "log_to_stderr", "false" },
        { "err_to_stderr", "false" },
    };
    int result = 0;

    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]) && result == 0;
         i++) {
        result = set(cluster, fixed[i].option, fixed[i].value, err);
    }
    if (result == 0 && ceph->keyring && ceph->keyring[0]) {
        result = set(cluster, "keyring", ceph->keyring, err);
    }
    if (result == 0) {
        result = set_seconds(cluster, "client_mount_timeout",
                             ceph->connect_timeout_s, err);
    }
    if (result == 0) {
        result = set_seconds(cluster, "rados_mon_op_timeout",
                             ceph->connect_timeout_s, err);
    }
    return result == 0 ? set_seconds(cluster, "rados_osd_op_timeout",
                                     ceph->op_timeout_s, err)
                       : result;
}

static int read_file(rados_t cluster, const struct backend_ceph *ceph,
                     struct rdisk_error *err)
{
    int result = rados_conf_read_file(cluster, ceph->config);

    return result < 0 ? rdisk_error_set(err, result,
                                        "cannot read '%s', config= in [ceph]: "
                                        "%s",
                                        ceph->config, strerror(-result))
                      : 0;
}

static int connect_now(rados_t cluster, const struct backend_ceph *ceph,
                       const char *volume, struct rdisk_error *err)
{
    int result = rados_connect(cluster);

    switch (result) {
    case 0:
        return 0;
    case -ETIMEDOUT:
        return rdisk_error_set(err, result,
                               "cannot open volume '%s': no monitor of the "
                               "Ceph cluster in '%s' has answered within %u "
                               "seconds: they are down, cannot be reached, or "
                               "have no quorum",
                               volume, ceph->config, ceph->connect_timeout_s);
    case -EACCES:
    case -EPERM:
    case -ENOENT:
        return rdisk_error_set(err, result == -ENOENT ? -EACCES : result,
                               "cannot open volume '%s': the Ceph cluster does "
                               "not accept user '%s', or its keyring is "
                               "missing: %s",
                               volume, ceph->user, strerror(-result));
    default:
        return rdisk_error_set(err, result,
                               "cannot open volume '%s': cannot connect to the "
                               "Ceph cluster in '%s': %s",
                               volume, ceph->config, strerror(-result));
    }
}

rados_t cluster_connect(const struct backend_ceph *ceph, const char *volume,
                        struct rdisk_error *err)
{
    rados_t cluster;
    int result = rados_create(&cluster, ceph->user);

    if (result < 0) {
        rdisk_error_set(err, result, "cannot set up librados: %s",
                        strerror(-result));
        return NULL;
    }
    if (read_file(cluster, ceph, err) < 0 ||
        set_options(cluster, ceph, err) < 0 ||
        connect_now(cluster, ceph, volume, err) < 0) {
        rados_shutdown(cluster);
        return NULL;
    }
    return cluster;
}

int cluster_pool(rados_t cluster, const struct rbd_path *path,
                 const char *volume, rados_ioctx_t *io, struct rdisk_error *err)
{
    int result = rados_ioctx_create(cluster, path->pool, io);

    if (result < 0) {
        return rdisk_error_set(err, result,
                               "cannot open volume '%s': cannot use pool '%s' "
                               "of the Ceph cluster: %s",
                               volume, path->pool,
                               result == -ENOENT ? "there is none"
                                                 : strerror(-result));
    }
    rados_ioctx_set_namespace(*io, path->space);
    /* A pool that is full answers with an error; otherwise requests would wait
     * until there is room. */
    rados_set_pool_full_try(*io);
    return 0;
}
