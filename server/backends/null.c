/* SPDX-License-Identifier: BSD-3-Clause */
/* Keeps nothing and reads as zeroes: what remains is the cost of the network
 * and the server. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/backends/backend.h"
#include "server/volume/identity.h"

static struct backend *null_open(const struct backend_spec *spec,
                                 struct rdisk_error *err)
{
    struct backend *backend;

    if (spec->path || spec->identity || !spec->size) {
        rdisk_error_set(err, -EINVAL,
                        "volume '%s' is null: it needs size=, "
                        "and has no path= or identity=",
                        spec->volume);
        return NULL;
    }
    if (backend_check_size(spec->volume, spec->size, err) < 0 ||
        backend_not_polled(spec, "it is null", err) < 0) {
        return NULL;
    }
    backend = calloc(1, sizeof(*backend));
    if (!backend) {
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                        spec->volume);
        return NULL;
    }
    backend->class = &backend_null;
    backend->inline_io = true;
    backend->geometry = (struct backend_geometry) {
        .size = spec->size,
        .block_size = RDISK_BLOCK_SIZE_MIN,
        .read_only = spec->read_only,
        .discard = true,
        .zeroes = true,
        .extents = true,
        .copy = true,
    };
    identity_random(backend->identity);
    identity_random(backend->cache);
    return backend;
}

static void null_close(struct backend *backend)
{
    free(backend);
}

static int null_resize(struct backend *backend, uint64_t size,
                       struct rdisk_error *err)
{
    return 0;
}

static int null_allocated(struct backend *backend, uint64_t *bytes)
{
    *bytes = 0;
    return 0;
}

static struct backend_context *null_join(struct backend *backend,
                                         struct reactor *reactor,
                                         struct rdisk_error *err)
{
    struct backend_context *context = calloc(1, sizeof(*context));

    if (!context) {
        rdisk_error_set(err, -ENOMEM, "no memory for a null volume");
        return NULL;
    }
    context->backend = backend;
    context->reactor = reactor;
    return context;
}

static void null_leave(struct backend_context *context)
{
    free(context);
}

static void null_submit(struct backend_context *context, struct backend_io *io)
{
    if (io->op == RDISK_OP_EXTENTS) {
        io->done = 0;
        backend_io_extent(io, io->length,
                          RDISK_EXTENT_HOLE | RDISK_EXTENT_ZERO);
    } else if (io->op == RDISK_OP_READ) {
        /* The slot holds what its client wrote last. */
        memset(io->data, 0, io->length);
    }
    backend_io_complete(io, 0);
}

const struct backend_class backend_null = {
    .name = "null",
    .open = null_open,
    .close = null_close,
    .resize = null_resize,
    .allocated = null_allocated,
    .join = null_join,
    .leave = null_leave,
    .submit = null_submit,
};
