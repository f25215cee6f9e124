/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No other client may write an image that this server writes: it holds the
 * image's exclusive lock, and keeps it when another client requests it. A
 * client that breaks the lock has this server's connection blocklisted first.
 *
 * A server that was killed or stopped leaves its lock behind, and the cluster
 * takes half a minute to detect that. Two servers need not wait: the next
 * process of the same one, which has the lock on the directory of records, and
 * another one that a client has come to with which the record of who may write
 * agrees (@force). So the image notes which server's process has its lock.
 *
 * Blocklisting fences a client of the cluster by the map of its OSDs. Until an
 * OSD has that map it carries out requests of the other one, so this image's
 * own connection breaks the lock, and waits for the map: each request that it
 * sends afterwards brings the OSD to it first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/backends/rbd/image.h"

/* In the image's metadata: "OWNER SERVER INSTANCE". */
#define NOTE     "rdisk.holder"
#define NOTE_MAX 512
/* librbd's exclusive lock, of the image's header. */
#define LOCK    "rbd_lock"
#define OBJECT  80
#define ADDRESS 128
/* More than the servers that have one image open. */
#define WATCHERS 256
/*
 * Longer than a server is stopped, and then goes on: 30 days, in seconds. When
 * librbd breaks a lock it is an hour by default; a later request for more
 * changes nothing; and the option for that, rbd_blocklist_expire_seconds, makes
 * the monitors of Ceph 16 refuse. So the lock is broken here.
 */
#define FENCED "2592000.0"

/* Who has the lock, as the cluster names it. */
struct holder {
    char client[64], cookie[128], address[ADDRESS];
};

static int header_of(const struct image *image, char object[OBJECT])
{
    char id[64];
    int result = rbd_get_id(image->image, id, sizeof(id));

    snprintf(object, OBJECT, "rbd_header.%s", result < 0 ? "" : id);
    return result < 0 ? result : 0;
}

/* Without the messenger's version, which some of Ceph's calls put first. */
static const char *bare(const char *address)
{
    static const char *const versions[] = { "v1:", "v2:", "any:" };

    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        size_t length = strlen(versions[i]);

        if (strncmp(address, versions[i], length) == 0) {
            return address + length;
        }
    }
    return address;
}

/* 0; -ENOENT: it is free; or another negative errno. */
static int find_holder(const struct image *image, struct holder *holder)
{
    size_t tag_size = 64, clients = sizeof(holder->client);
    size_t cookies = sizeof(holder->cookie);
    size_t addresses = sizeof(holder->address);
    char object[OBJECT], tag[64];
    int exclusive, result = header_of(image, object);

    if (result == 0) {
        result = (int)rados_list_lockers(image->io, object, LOCK, &exclusive,
                                         tag, &tag_size, holder->client,
                                         &clients, holder->cookie, &cookies,
                                         holder->address, &addresses);
        result = result > 0 ? 0 : result < 0 ? result : -ENOENT;
    }
    if (result == 0) {
        const char *address = bare(holder->address);

        memmove(holder->address, address, strlen(address) + 1);
    }
    return result;
}

/* Those that have it open to write. Their number, or a negative errno. */
static int watchers_of(const struct image *image, rbd_image_watcher_t *list)
{
    size_t count = WATCHERS;
    int result = rbd_watchers_list(image->image, list, &count);

    return result < 0 ? result : (int)count;
}

/* False only if it is certain that the cluster does not see @owner any more. */
static bool is_alive(const struct image *image, const char *owner)
{
    rbd_image_watcher_t *list = calloc(WATCHERS, sizeof(*list));
    int count = list ? watchers_of(image, list) : -ENOMEM;
    bool alive = count < 0;

    for (int i = 0; i < count; i++) {
        alive = alive || strcmp(bare(list[i].addr), owner) == 0;
    }
    if (count >= 0) {
        rbd_watchers_list_cleanup(list, (size_t)count);
    }
    free(list);
    return alive;
}

int image_alone(const struct image *image, const char *what,
                struct rdisk_error *err)
{
    rbd_image_watcher_t *list = calloc(WATCHERS, sizeof(*list));
    int count = list ? watchers_of(image, list) : -ENOMEM;

    if (count >= 0) {
        rbd_watchers_list_cleanup(list, (size_t)count);
    }
    free(list);
    if (count < 0) {
        return image_cannot_open(image, count, err);
    }
    return count > 1 ? rdisk_error_set(err, -EBUSY,
                                       "cannot %s volume '%s': another server "
                                       "or client of the Ceph cluster has the "
                                       "image open",
                                       what, image->volume)
                     : 0;
}

/* ---- The note ----------------------------------------------------------- */

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
static int check_server(const struct image *image, struct rdisk_error *err)
{
    char text[NOTE_MAX], server[NOTE_MAX];
    int result = read_note(image, text);

    if (result == -ENOENT || !image->ceph->server || image->shared) {
        return 0;
    }
    if (result < 0) {
        return image_cannot_open(image, result, err);
    }
    if (sscanf(text, "%*s %511s", server) == 1 &&
        strcmp(server, image->ceph->server) != 0) {
        return rdisk_error_set(
            err, -EBUSY,
            "cannot open volume '%s': image '%s' was last written through "
            "another server or state directory (%.64s); if no client can "
            "reconnect there, run 'rbd image-meta remove %s " NOTE "'",
            image->volume, image->path, server, image->path);
    }
    return 0;
}

/* Without the note, the next one waits for the cluster. */
static void note(const struct image *image)
{
    const struct backend_ceph *ceph = image->ceph;
    char text[NOTE_MAX];
    struct holder holder;
    int result = find_holder(image, &holder);

    if (result == 0 && ceph->server) {
        snprintf(text, sizeof(text), "%s %s %s", holder.address, ceph->server,
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

/* Whether @owner has taken the lock as a server of ours, and whether as an
 * earlier process of this one. */
static void identify_owner(const struct image *image, const char *owner,
                           bool *ours, bool *predecessor)
{
    const struct backend_ceph *ceph = image->ceph;
    char text[NOTE_MAX], name[NOTE_MAX], server[NOTE_MAX], instance[NOTE_MAX];

    *ours = *predecessor = false;
    if (read_note(image, text) < 0 ||
        sscanf(text, "%511s %511s %511s", name, server, instance) != 3 ||
        strcmp(name, owner) != 0) {
        return;
    }
    *ours = true;
    *predecessor = ceph->server && strcmp(server, ceph->server) == 0 &&
                   strcmp(instance, ceph->instance) != 0;
}

/* ---- The lock ----------------------------------------------------------- */

static int busy(const struct image *image, struct rdisk_error *err)
{
    return rdisk_error_set(err, -EBUSY,
                           "cannot open volume '%s': another client of the "
                           "Ceph cluster has image '%s' open to write; "
                           "with read-only = on it can be served",
                           image->volume, image->path);
}

/* No OSD takes requests of this connection once it has the map. 0 or a negative
 * errno. */
static int blocklist(const struct image *image, const char *address)
{
    char command[128 + ADDRESS], *out = NULL, *status = NULL;
    const char *commands[] = { command };
    size_t out_length, status_length;
    int result;

    snprintf(command, sizeof(command),
             "{\"prefix\": \"osd blocklist\", \"blocklistop\": \"add\", "
             "\"addr\": \"%s\", \"expire\": " FENCED "}",
             address);
    result = rados_mon_command(image->cluster, commands, 1, NULL, 0, &out,
                               &out_length, &status, &status_length);
    rados_buffer_free(out);
    rados_buffer_free(status);
    return result;
}

/* The one that is fenced is so in the map that this connection has then. */
static int wait_for_map(struct image *image)
{
    return cluster_wait_for_map(image->cluster, &image->waiting,
                                image->ceph->connect_timeout_s);
}

static int cannot_lock(const struct image *image, int result,
                       struct rdisk_error *err)
{
    if (result == -ETIMEDOUT) {
        return rdisk_error_set(err, result,
                               "cannot lock image '%s' of volume '%s': the "
                               "monitors of the Ceph cluster have not answered "
                               "within %u seconds, or an OSD not within "
                               "op-timeout",
                               image->path, image->volume,
                               image->ceph->connect_timeout_s);
    }
    return rdisk_error_set(err, result,
                           "cannot lock image '%s' of volume '%s': %s",
                           image->path, image->volume, strerror(-result));
}

/* @holder is fenced, and only then loses the lock. 0 or a negative errno with
 * @err. */
static int break_lock(struct image *image, const struct holder *holder,
                      const char *whose, struct rdisk_error *err)
{
    char object[OBJECT];
    int result = blocklist(image, holder->address);

    if (result == 0) {
        result = wait_for_map(image);
    }
    if (result == 0) {
        result = header_of(image, object);
    }
    if (result == 0) {
        result = rados_break_lock(image->io, object, LOCK, holder->client,
                                  holder->cookie);
    }
    /* It may have released it meanwhile, or another server was faster. */
    result = result == -ENOENT ? 0 : result;
    log_info("volume '%s': the lock of %s, %s, is %s", image->volume, whose,
             holder->address, result == 0 ? "broken" : strerror(-result));
    return result < 0 ? cannot_lock(image, result, err) : 0;
}

/*
 * The one that has the lock loses it, if that is possible without a long wait.
 * 0; -EBUSY: it keeps it; or another negative errno.
 */
static int take_from_holder(struct image *image, bool force,
                            struct rdisk_error *err)
{
    struct holder holder;
    bool ours, predecessor;
    int result = find_holder(image, &holder);

    if (result < 0) {
        return result == -ENOENT ? 0 : image_cannot_open(image, result, err);
    }
    identify_owner(image, holder.address, &ours, &predecessor);
    if (predecessor) {
        return break_lock(image, &holder, "this server's last process", err);
    }
    if (ours && force) {
        return break_lock(image, &holder, "another server", err);
    }
    return is_alive(image, holder.address)
               ? busy(image, err)
               : break_lock(image, &holder, "a client that is gone", err);
}

static int check_feature(const struct image *image, struct rdisk_error *err)
{
    uint64_t features;
    int result = rbd_get_features(image->image, &features);

    if (result == 0 && !(features & RBD_FEATURE_EXCLUSIVE_LOCK)) {
        return rdisk_error_set(
            err, -ENOTSUP,
            "cannot open volume '%s': image '%s' has no exclusive lock, so "
            "others could write it; 'rbd feature enable %s exclusive-lock' "
            "adds it, and read-only = on needs none",
            image->volume, image->path, image->path);
    }
    return result < 0 ? image_cannot_open(image, result, err) : 0;
}

/* Nothing is written before the map that has the last holder on its blocklist
 * is here, whichever server has broken the lock. */
static int acquire(struct image *image, struct rdisk_error *err)
{
    int result = rbd_lock_acquire(image->image, RBD_LOCK_MODE_EXCLUSIVE);

    if (result == -EBUSY || result == -EROFS || result == -EAGAIN) {
        return busy(image, err);
    }
    if (result == 0) {
        result = wait_for_map(image);
        if (result < 0) {
            image_unlock(image);
        }
    }
    return result < 0 ? cannot_lock(image, result, err) : 0;
}

int image_lock(struct image *image, bool force, struct rdisk_error *err)
{
    int result = check_feature(image, err);

    if (result == 0) {
        result = take_from_holder(image, force, err);
    }
    if (result == 0) {
        result = acquire(image, err);
    }
    if (result < 0) {
        return result;
    }
    /* Now no other client changes it. */
    result = check_server(image, err);
    if (result == 0) {
        note(image);
    }
    return result;
}

void image_unlock(struct image *image)
{
    int result = rbd_lock_release(image->image);

    if (result < 0) {
        log_warning("volume '%s': cannot release the lock of image '%s': %s",
                    image->volume, image->path, strerror(-result));
    }
}
