/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which parts of an image have data. librbd's call waits for the cluster, so
 * the reactor's offload makes it, a piece at a time.
 */
#include <errno.h>

#include "server/backends/rbd/image.h"

/* Of a request, before other jobs have their turn: 16 objects of the usual
 * size, whose OSDs are asked in parallel. */
#define PIECE (64u << 20)

/*
 * The request's list as it grows: a run is entered when the next begins.
 * io->began is the position up to which runs are known.
 */
struct walk {
    struct backend_io *io;
    uint64_t begin, end; /* of the run that is not entered yet */
    bool data;           /* what it is */
    bool room;
};

static void enter(struct walk *walk)
{
    if (walk->end > walk->begin && walk->room) {
        walk->room = backend_io_extent(walk->io, walk->end - walk->begin,
                                       walk->data ? 0
                                                  : RDISK_EXTENT_HOLE |
                                                        RDISK_EXTENT_ZERO);
    }
    walk->begin = walk->end;
}

static void extend(struct walk *walk, uint64_t end, bool data)
{
    if (end <= walk->end) {
        return;
    }
    if (data != walk->data) {
        enter(walk);
        walk->data = data;
    }
    walk->end = end;
}

/* Whole blocks: one with any data is data. */
static int found(uint64_t offset, size_t length, int exists, void *opaque)
{
    struct walk *walk = opaque;
    uint64_t limit = walk->io->offset + walk->io->length;
    uint64_t end = offset + length + RDISK_BLOCK_SIZE_MIN - 1;

    if (exists) {
        end -= end % RDISK_BLOCK_SIZE_MIN;
        extend(walk, offset - offset % RDISK_BLOCK_SIZE_MIN, false);
        extend(walk, end < limit ? end : limit, true);
    }
    /* Any other value ends the walk. */
    return walk->room ? 0 : -EOVERFLOW;
}

/* A run may go on in the next piece: take the last one out of the list. */
static void resume(struct walk *walk)
{
    struct backend_io *io = walk->io;
    const struct rdisk_wire_extent *list = io->data;

    if (io->done) {
        io->done--;
        walk->begin -= le64toh(list[io->done].length);
        walk->data = !list[io->done].flags;
    }
}

static bool extents_run(struct offload_job *job)
{
    struct backend_io *io = container_of(job, struct backend_io, job);
    struct image *image = image_of(io->context->backend);
    uint64_t begin = io->began, left = io->offset + io->length - begin;
    uint64_t length = left < PIECE ? left : PIECE;
    struct walk walk = { .io = io, .begin = begin, .end = begin, .room = true };
    int result;

    resume(&walk);
    result = rbd_diff_iterate2(image->image, NULL, begin, length, 1, 0, found,
                               &walk);
    if (result < 0 && walk.room) {
        io->result = result;
        return false;
    }
    extend(&walk, begin + length, false);
    enter(&walk);
    io->began = walk.end;
    return walk.room && io->began < io->offset + io->length;
}

static void extents_done(struct offload_job *job)
{
    struct backend_io *io = container_of(job, struct backend_io, job);

    if (io->result < 0) {
        image_fail(io, io->result);
    } else {
        backend_io_complete(io, 0);
    }
}

void image_extents(struct image_context *context, struct backend_io *io)
{
    io->began = io->offset;
    io->job.run = extents_run;
    io->job.done = extents_done;
    reactor_offload(context->base.reactor, &context->lane, &io->job);
}
