/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk info */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

#include "common/size.h"
#include "tools/control_socket.h"
#include "tools/rdisk.h"
#include "tools/remote.h"

/* What a client can use of the volume, by name. */
static const struct {
    const char *name;
    size_t offset;
} flags[] = {
    { "read_only", offsetof(struct rdisk_volume_info, read_only) },
    { "rotational", offsetof(struct rdisk_volume_info, rotational) },
    { "fua", offsetof(struct rdisk_volume_info, fua) },
    { "discard", offsetof(struct rdisk_volume_info, discard) },
    { "zeroes", offsetof(struct rdisk_volume_info, zeroes) },
    { "extents", offsetof(struct rdisk_volume_info, extents) },
    { "copy", offsetof(struct rdisk_volume_info, copy) },
    { "resize", offsetof(struct rdisk_volume_info, resize) },
};

#define FLAGS (sizeof(flags) / sizeof(flags[0]))

static bool flag(const struct rdisk_volume_info *info, size_t i)
{
    return *(const bool *)((const char *)info + flags[i].offset);
}

/* ---- What a volume takes up --------------------------------------------- */

void usage_print(struct json_object *usage)
{
    uint64_t snapshots = control_number(usage, "snapshots");
    const char *parent = control_text(usage, "parent");
    char text[SIZE_TEXT];

    printf("    %s allocated",
           size_round(control_number(usage, "allocated"), text, sizeof(text)));
    if (snapshots) {
        printf("; %" PRIu64 " snapshots with %s%s", snapshots,
               size_round(control_number(usage, "snapshots_allocated"), text,
                          sizeof(text)),
               control_number(usage, "snapshots_overlap")
                   ? ", blocks that are shared counted in each"
                   : " besides");
    }
    printf("\n");
    if (parent[0]) {
        printf("    needs the data of %s, until it is flattened\n", parent);
    }
}

/* The server cannot tell. */
#define UNKNOWN UINT64_MAX

static void allocated(void *opaque, int result, uint64_t bytes,
                      const struct rdisk_error *err)
{
    struct remote *remote = opaque;

    remote->done = true;
    remote->result = result;
    remote->error = *err;
    remote->allocated = bytes;
}

/* Bytes, or UNKNOWN: the rest is known without the server's storage. */
static uint64_t remote_allocated(struct remote *remote)
{
    int result;

    remote->done = false;
    result = rdisk_initiator_stat(remote->session, allocated, remote);
    if (result == 0) {
        result = remote_serve(remote);
    }
    return result == 0 ? remote->allocated : UNKNOWN;
}

/* ---- By URI -------------------------------------------------------------- */

static void print_text(const char *uri, uint64_t size, uint64_t used,
                       const struct rdisk_volume_info *info)
{
    char text[SIZE_TEXT];

    printf("volume %s: %s, blocks of %u bytes, requests up to %u bytes\n", uri,
           size_format(size, text, sizeof(text)), info->block_size,
           info->max_transfer);
    printf("   ");
    for (size_t i = 0; i < FLAGS; i++) {
        if (flag(info, i)) {
            printf(" %s", flags[i].name);
        }
    }
    printf("\n");
    if (used != UNKNOWN) {
        printf("    %s allocated\n", size_round(used, text, sizeof(text)));
    }
}

static void print_info(const char *uri, uint64_t size, uint64_t used,
                       const struct rdisk_volume_info *info)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "uri", json_object_new_string(uri));
    json_object_object_add(object, "size", json_object_new_uint64(size));
    if (used != UNKNOWN) {
        json_object_object_add(object, "allocated",
                               json_object_new_uint64(used));
    }
    json_object_object_add(object, "block_size",
                           json_object_new_int64(info->block_size));
    json_object_object_add(object, "optimal_size",
                           json_object_new_int64(info->optimal_size));
    json_object_object_add(object, "max_transfer",
                           json_object_new_int64(info->max_transfer));
    for (size_t i = 0; i < FLAGS; i++) {
        json_object_object_add(object, flags[i].name,
                               json_object_new_boolean(flag(info, i)));
    }
    print_json(object);
    json_object_put(object);
}

static int remote_info(const struct arguments *arguments)
{
    struct remote remote;
    /* Read-only: a guest may be writing to it. */
    int result = remote_open(&remote, arguments, true);
    uint64_t used;

    if (result != EXIT_OK) {
        return result;
    }
    used = remote_allocated(&remote);
    (arguments->json ? print_info
                     : print_text)(arguments->uri,
                                   rdisk_initiator_size(remote.session), used,
                                   rdisk_initiator_info(remote.session));
    return remote_close(&remote, 0);
}

int command_info(const struct arguments *arguments)
{
    return remote_is_uri(arguments->uri) ? remote_info(arguments)
                                         : server_info(arguments);
}
