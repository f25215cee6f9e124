/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk map: where a volume has data, and its allocated size. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/remote.h"

/* A run that is not printed yet: its neighbour may continue it. */
struct run {
    uint64_t offset, length;
    uint32_t flags;
};

struct map {
    struct remote remote; /* first */
    struct rdisk_request request;
    struct rdisk_extent extents[RDISK_EXTENTS_MAX];
    struct run run;
    bool json;
    bool any; /* has been printed */
};

static void print_run(struct map *map)
{
    const struct run *run = &map->run;
    const char *kind = run->flags & RDISK_EXTENT_HOLE   ? "hole"
                       : run->flags & RDISK_EXTENT_ZERO ? "zero"
                                                        : "data";

    if (!run->length) {
        return;
    }
    if (map->json) {
        printf("%s\n  { \"offset\": %" PRIu64 ", \"length\": %" PRIu64
               ", \"kind\": \"%s\" }",
               map->any ? "," : "", run->offset, run->length, kind);
    } else {
        printf("%16" PRIu64 " %16" PRIu64 "  %s\n", run->offset, run->length,
               kind);
    }
    map->any = true;
}

static void add_run(struct map *map, const struct rdisk_extent *extent)
{
    struct run *run = &map->run;

    if (!run->length || run->flags != extent->flags) {
        print_run(map);
        run->offset += run->length;
        run->length = 0;
        run->flags = extent->flags;
    }
    run->length += extent->length;
}

static void answered(struct rdisk_request *request, int result)
{
    struct map *map = (struct map *)((char *)request -
                                     offsetof(struct map, request));

    map->remote.done = true;
    map->remote.result = result;
}

/* From @offset on; how far it came, or a negative errno. */
static int64_t ask(struct map *map, uint64_t offset, uint64_t size)
{
    struct rdisk_queue *queue = rdisk_initiator_queue(map->remote.session, 0);
    uint64_t reported = 0;
    int result;

    map->request = (struct rdisk_request) {
        .op = RDISK_OP_EXTENTS,
        .offset = offset,
        .length = size - offset,
        .extents = map->extents,
        .extent_count = RDISK_EXTENTS_MAX,
        .complete = answered,
    };
    map->remote.done = false;
    result = rdisk_queue_submit(queue, &map->request);
    if (result < 0) {
        return result;
    }
    rdisk_queue_kick(queue);
    result = remote_serve(&map->remote);
    for (unsigned int i = 0; result == 0 && i < map->request.extent_count;
         i++) {
        add_run(map, &map->extents[i]);
        reported += map->extents[i].length;
    }
    return result < 0 ? result : (int64_t)reported;
}

static void allocated(void *opaque, int result, uint64_t bytes,
                      const struct rdisk_error *err)
{
    struct map *map = opaque;

    map->remote.done = true;
    map->remote.result = result;
    map->remote.error = *err;
    map->remote.allocated = bytes;
}

static int print_map(struct map *map, uint64_t size)
{
    uint64_t offset = 0;

    while (offset < size) {
        int64_t reported = ask(map, offset, size);

        if (reported < 0) {
            return (int)reported;
        }
        offset += (uint64_t)reported;
    }
    print_run(map);
    return 0;
}

int command_map(const struct arguments *arguments)
{
    static struct map map;
    uint64_t size;
    int result = remote_open(&map.remote, arguments, true);

    if (result != EXIT_OK) {
        return result;
    }
    map.json = arguments->json;
    size = rdisk_initiator_size(map.remote.session);
    map.remote.done = false;
    result = rdisk_initiator_stat(map.remote.session, allocated, &map);
    if (result == 0) {
        result = remote_serve(&map.remote);
    } else if (result == -ENOTSUP) {
        rdisk_error_set(&map.remote.error, result,
                        "the server cannot report where this volume has data");
    }
    if (result == 0) {
        printf(map.json ? "{ \"size\": %" PRIu64 ", \"allocated\": %" PRIu64
                          ", \"map\": ["
                        : "%" PRIu64 " bytes, %" PRIu64 " allocated\n",
               size, map.remote.allocated);
        result = print_map(&map, size);
        printf("%s", map.json ? "\n] }\n" : "");
    }
    return remote_close(&map.remote, result);
}
