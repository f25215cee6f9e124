/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdisk import, export: a volume from a raw image, and back. What is zero is
 * neither sent nor stored. Other formats are qemu-img's.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/container_of.h"
#include "tools/pump.h"
#include "transport/base/least.h"

#define DEPTH     16
#define BLOCK_MAX (1u << 20)

struct copy {
    struct pump pump;
    struct remote remote;
    const char *path;
    int fd;
    uint64_t size;   /* bytes to copy */
    uint64_t offset; /* of the next request */
    uint64_t copied; /* bytes that are done, zeroes among them */
    uint64_t data;   /* of these, what was sent */
    uint64_t began;
    bool zeroes; /* of import: what is zero need not be sent */
    /* Of export: what the volume has, or NULL. */
    struct rdisk_extent *extents;
    size_t extent_count, extent;
    uint64_t extent_end; /* where that extent ends */
    struct rdisk_extent page[RDISK_EXTENTS_MAX];
};

static int file_error(struct copy *copy, struct rdisk_error *err,
                      const char *what)
{
    int code = errno ? -errno : -EIO;

    return rdisk_error_set(err, code, "cannot %s '%s': %s", what, copy->path,
                           strerror(-code));
}

/* ---- Progress ---------------------------------------------------------- */

static void progress(struct pump *pump)
{
    const struct copy *copy = container_of(pump, struct copy, pump);
    double seconds = (rdisk_now(&rdisk_env_system) - copy->began) / 1e9;

    fprintf(stderr, "\r%3.0f %%  %.1f of %.1f MB  %.1f MB/s ",
            copy->size ? 100.0 * copy->copied / copy->size : 100.0,
            copy->copied / 1e6, copy->size / 1e6, copy->copied / 1e6 / seconds);
    fflush(stderr);
}

static void print_result(const struct copy *copy, bool json)
{
    double seconds = (rdisk_now(&rdisk_env_system) - copy->began) / 1e9;
    char text[32];
    struct json_object *object;

    if (copy->pump.tick) {
        fprintf(stderr, "\r%60s\r", "");
    }
    if (!json) {
        printf("%.1f MB in %.1f s, %.1f MB/s; %.1f MB were not zero\n",
               copy->size / 1e6, seconds, copy->size / 1e6 / seconds,
               copy->data / 1e6);
        return;
    }
    object = json_object_new_object();
    snprintf(text, sizeof(text), "%.3f", seconds);
    json_object_object_add(object, "bytes", json_object_new_uint64(copy->size));
    json_object_object_add(object, "data", json_object_new_uint64(copy->data));
    json_object_object_add(object, "seconds",
                           json_object_new_double_s(seconds, text));
    print_json(object);
    json_object_put(object);
}

static bool all_zero(const char *data, size_t length)
{
    return length == 0 ||
           (data[0] == 0 && memcmp(data, data + 1, length - 1) == 0);
}

static uint32_t round_up(uint64_t length, uint32_t block)
{
    return (uint32_t)((length + block - 1) / block * block);
}

/* ---- Import ------------------------------------------------------------ */

/* The end of the file is padded with zeroes to a block. */
static int read_block(struct copy *copy, char *data, uint64_t offset,
                      uint32_t length)
{
    uint32_t have = 0;

    while (have < length) {
        ssize_t n = pread(copy->fd, data + have, length - have,
                          (off_t)(offset + have));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return file_error(copy, &copy->pump.error, "read");
        }
        if (n == 0) {
            break;
        }
        have += (uint32_t)n;
    }
    memset(data + have, 0, length - have);
    return 0;
}

static int import_next(struct pump *pump, struct pump_slot *slot)
{
    struct copy *copy = container_of(pump, struct copy, pump);
    uint32_t align = rdisk_initiator_info(copy->remote.session)->block_size;
    uint64_t left = copy->size - copy->offset;
    struct rdisk_request *request = &slot->request;
    char *data = slot->iov.iov_base;
    int result;

    if (!left) {
        return 0;
    }
    request->offset = copy->offset;
    request->length = left < pump->block ? round_up(left, align) : pump->block;
    result = read_block(copy, data, copy->offset, request->length);
    if (result < 0) {
        return result;
    }
    copy->offset += rdisk_least(left, pump->block);
    request->op = copy->zeroes && all_zero(data, request->length)
                      ? RDISK_OP_ZEROES
                      : RDISK_OP_WRITE;
    return 1;
}

static int import_done(struct pump *pump, struct pump_slot *slot)
{
    struct copy *copy = container_of(pump, struct copy, pump);

    copy->copied += slot->request.length;
    copy->data += slot->request.op == RDISK_OP_WRITE ? slot->request.length : 0;
    return 0;
}

static void no_zeroes(struct pump *pump)
{
    container_of(pump, struct copy, pump)->zeroes = false;
}

static int import_set_up(struct copy *copy)
{
    uint64_t size = rdisk_initiator_size(copy->remote.session);
    struct stat st;

    if (rdisk_initiator_info(copy->remote.session)->read_only) {
        return rdisk_error_set(&copy->remote.error, -EROFS,
                               "this client may only read the volume");
    }
    if (fstat(copy->fd, &st) < 0) {
        return file_error(copy, &copy->remote.error, "read");
    }
    if (S_ISREG(st.st_mode)) {
        copy->size = (uint64_t)st.st_size;
    } else {
        off_t end = lseek(copy->fd, 0, SEEK_END);

        if (end < 0) {
            return file_error(copy, &copy->remote.error, "find the size of");
        }
        copy->size = (uint64_t)end;
    }
    if (copy->size > size) {
        return rdisk_error_set(&copy->remote.error, -EFBIG,
                               "'%s' has %" PRIu64 " bytes, the volume %" PRIu64
                               ": resize the volume first",
                               copy->path, copy->size, size);
    }
    copy->zeroes = rdisk_initiator_info(copy->remote.session)->zeroes;
    copy->pump.next = import_next;
    copy->pump.no_zeroes = no_zeroes;
    copy->pump.done = import_done;
    return 0;
}

/* ---- Export ------------------------------------------------------------ */

/* One page of extents, with a pump of one request. */
struct map {
    struct pump pump;
    struct copy *copy;
    uint64_t offset, reported;
};

static int map_next(struct pump *pump, struct pump_slot *slot)
{
    struct map *map = container_of(pump, struct map, pump);

    slot->request.op = RDISK_OP_EXTENTS;
    slot->request.offset = map->offset;
    slot->request.length = map->copy->size - map->offset;
    slot->request.extents = map->copy->page;
    slot->request.extent_count = RDISK_EXTENTS_MAX;
    pump->exhausted = true;
    return 1;
}

static int map_done(struct pump *pump, struct pump_slot *slot)
{
    struct map *map = container_of(pump, struct map, pump);
    struct copy *copy = map->copy;
    unsigned int count = slot->request.extent_count;
    struct rdisk_extent *more = realloc(copy->extents,
                                        (copy->extent_count + count) *
                                            sizeof(*more));

    if (!more) {
        return -ENOMEM;
    }
    copy->extents = more;
    for (unsigned int i = 0; i < count; i++) {
        copy->extents[copy->extent_count++] = copy->page[i];
        map->reported += copy->page[i].length;
    }
    return 0;
}

static int read_map(struct copy *copy)
{
    uint64_t offset = 0;

    while (offset < copy->size) {
        struct map map = {
            .pump = { .remote = &copy->remote,
                      .depth = 1,
                      .block = 4096,
                      .next = map_next,
                      .done = map_done },
            .copy = copy,
            .offset = offset,
        };
        int result = pump_run(&map.pump);

        if (result < 0) {
            return result;
        }
        offset += map.reported;
    }
    copy->extent_end = copy->extent_count ? copy->extents[0].length : 0;
    return 0;
}

/* Skips what is zero. @length: up to where the same holds. */
static bool find_data(struct copy *copy, uint64_t *length)
{
    while (copy->offset < copy->size) {
        if (!copy->extents) {
            *length = copy->size - copy->offset;
            return true;
        }
        if (copy->offset == copy->extent_end) {
            copy->extent++;
            copy->extent_end += copy->extents[copy->extent].length;
            continue;
        }
        *length = copy->extent_end - copy->offset;
        if (!(copy->extents[copy->extent].flags &
              (RDISK_EXTENT_HOLE | RDISK_EXTENT_ZERO))) {
            return true;
        }
        copy->copied += *length;
        copy->offset = copy->extent_end;
    }
    return false;
}

static int export_next(struct pump *pump, struct pump_slot *slot)
{
    struct copy *copy = container_of(pump, struct copy, pump);
    uint64_t length;

    if (!find_data(copy, &length)) {
        return 0;
    }
    slot->request.op = RDISK_OP_READ;
    slot->request.offset = copy->offset;
    slot->request.length = rdisk_least(length, pump->block);
    copy->offset += slot->request.length;
    return 1;
}

static int export_done(struct pump *pump, struct pump_slot *slot)
{
    struct copy *copy = container_of(pump, struct copy, pump);
    const struct rdisk_request *request = &slot->request;
    const char *data = slot->iov.iov_base;
    uint64_t have = 0;

    copy->copied += request->length;
    if (all_zero(data, request->length)) {
        return 0; /* the file has a hole there */
    }
    copy->data += request->length;
    while (have < request->length) {
        ssize_t n = pwrite(copy->fd, data + have, request->length - have,
                           (off_t)(request->offset + have));

        if (n < 0 && errno != EINTR) {
            return file_error(copy, &pump->error, "write");
        }
        have += n > 0 ? (uint64_t)n : 0;
    }
    return 0;
}

static int export_set_up(struct copy *copy)
{
    copy->size = rdisk_initiator_size(copy->remote.session);
    copy->pump.next = export_next;
    copy->pump.done = export_done;
    if (ftruncate(copy->fd, (off_t)copy->size) < 0) {
        return file_error(copy, &copy->remote.error, "enlarge");
    }
    return rdisk_initiator_info(copy->remote.session)->extents ? read_map(copy)
                                                               : 0;
}

/* ---- The commands ------------------------------------------------------ */

static int run(struct copy *copy, const struct arguments *arguments,
               int (*set_up)(struct copy *copy))
{
    const struct rdisk_volume_info *info = rdisk_initiator_info(
        copy->remote.session);
    int result = set_up(copy);

    if (result < 0) {
        return result;
    }
    copy->began = rdisk_now(&rdisk_env_system);
    copy->pump.remote = &copy->remote;
    copy->pump.depth = DEPTH;
    copy->pump.block = rdisk_least(info->max_transfer, BLOCK_MAX) /
                       info->block_size * info->block_size;
    copy->pump.tick = !arguments->json && isatty(STDERR_FILENO) ? progress
                                                                : NULL;
    return pump_run(&copy->pump);
}

int command_import(const struct arguments *arguments)
{
    static struct copy copy;
    int result;

    copy.path = arguments->words[0];
    copy.fd = open(copy.path, O_RDONLY | O_CLOEXEC);
    if (copy.fd < 0) {
        return failed_code(-errno, "cannot open '%s': %s", copy.path,
                           strerror(errno));
    }
    result = remote_open(&copy.remote, arguments, false);
    if (result != EXIT_OK) {
        close(copy.fd);
        return result;
    }
    result = run(&copy, arguments, import_set_up);
    if (result == 0) {
        result = pump_flush(&copy.remote);
    }
    if (result == 0) {
        print_result(&copy, arguments->json);
    }
    close(copy.fd);
    return remote_close(&copy.remote, result);
}

int command_export(const struct arguments *arguments)
{
    static struct copy copy;
    int result = remote_open(&copy.remote, arguments, true);

    if (result != EXIT_OK) {
        return result;
    }
    copy.path = arguments->words[1];
    copy.fd = open(copy.path,
                   O_WRONLY | O_CREAT | O_CLOEXEC |
                       (arguments->replace ? O_TRUNC : O_EXCL),
                   0666);
    if (copy.fd < 0) {
        result = rdisk_error_set(&copy.remote.error, -errno,
                                 "cannot create '%s': %s%s", copy.path,
                                 strerror(errno),
                                 errno == EEXIST ? "; --replace overwrites it"
                                                 : "");
        return remote_close(&copy.remote, result);
    }
    result = run(&copy, arguments, export_set_up);
    if (result == 0 && fsync(copy.fd) < 0 && errno != EINVAL) {
        result = file_error(&copy, &copy.remote.error, "write");
    }
    if (result == 0) {
        print_result(&copy, arguments->json);
    }
    close(copy.fd);
    free(copy.extents);
    return remote_close(&copy.remote, result);
}
