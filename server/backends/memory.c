/* SPDX-License-Identifier: BSD-3-Clause */
/* A volume in RAM: gone with the server. For tests, and for scratch space. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "server/backends/backend.h"
#include "server/volume/identity.h"

#define BLOCK 4096u
/* Reactors seldom meet on one of these. */
#define LOCKS 32
/* Longer requests are done by a thread beside the reactor, so much at a
 * time. */
#define PIECE (1u << 20)

struct memory {
    struct backend base;
    char *bytes;
    /*
     * Of the blocks whose number is that modulo LOCKS: two requests on one
     * block come one after the other, as on a disk. A disk's promise, not an
     * ordering of requests.
     */
    pthread_spinlock_t locks[LOCKS];
    uint64_t size; /* bytes mapped; under all locks, read under any */
};

struct memory_context {
    struct backend_context base;
    struct offload_lane lane;
};

static struct memory *memory_of(struct backend *backend)
{
    return container_of(backend, struct memory, base);
}

static struct backend *memory_open(const struct backend_spec *spec,
                                   struct rdisk_error *err)
{
    struct memory *memory;

    if (spec->path || spec->identity || !spec->size) {
        rdisk_error_set(err, -EINVAL,
                        "volume '%s' is in memory: it needs "
                        "size=, and has no path= or identity=",
                        spec->volume);
        return NULL;
    }
    if (backend_check_size(spec->volume, spec->size, err) < 0 ||
        backend_not_polled(spec, "it is in memory", err) < 0) {
        return NULL;
    }
    memory = calloc(1, sizeof(*memory));
    if (!memory) {
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                        spec->volume);
        return NULL;
    }
    memory->bytes = mmap(NULL, spec->size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory->bytes == MAP_FAILED) {
        rdisk_error_set(err, -ENOMEM,
                        "cannot map %" PRIu64 " bytes of memory "
                        "for volume '%s': %s",
                        spec->size, spec->volume, strerror(errno));
        free(memory);
        return NULL;
    }
    for (size_t i = 0; i < LOCKS; i++) {
        pthread_spin_init(&memory->locks[i], PTHREAD_PROCESS_PRIVATE);
    }
    memory->size = spec->size;
    memory->base.class = &backend_memory;
    memory->base.inline_io = true;
    memory->base.geometry = (struct backend_geometry) {
        .size = spec->size,
        .block_size = RDISK_BLOCK_SIZE_MIN,
        .optimal_size = BLOCK,
        .read_only = spec->read_only,
        .discard = true,
        .zeroes = true,
        .extents = true,
        .copy = true,
    };
    identity_random(memory->base.identity);
    identity_random(memory->base.cache);
    return &memory->base;
}

static void memory_close(struct backend *backend)
{
    struct memory *memory = memory_of(backend);

    munmap(memory->bytes, memory->size);
    for (size_t i = 0; i < LOCKS; i++) {
        pthread_spin_destroy(&memory->locks[i]);
    }
    free(memory);
}

/* All blocks, so that none is accessed while they move. */
static void lock_all(struct memory *memory)
{
    for (size_t i = 0; i < LOCKS; i++) {
        pthread_spin_lock(&memory->locks[i]);
    }
}

static void unlock_all(struct memory *memory)
{
    for (size_t i = 0; i < LOCKS; i++) {
        pthread_spin_unlock(&memory->locks[i]);
    }
}

static int memory_resize(struct backend *backend, uint64_t size,
                         struct rdisk_error *err)
{
    struct memory *memory = memory_of(backend);
    uint64_t old = memory->size;
    int result = 0;
    char *bytes;

    lock_all(memory);
    bytes = mremap(memory->bytes, old, size, MREMAP_MAYMOVE);
    if (bytes == MAP_FAILED) {
        result = -errno;
    } else {
        if (size < old) {
            /* The rest of the last page would reappear with a later growth; it
             * is still mapped. */
            memset(bytes + size, 0, -size % BLOCK);
        }
        memory->bytes = bytes;
        memory->size = size;
    }
    unlock_all(memory);
    return result == 0 ? 0
                       : rdisk_error_set(err, -ENOMEM,
                                         "cannot map %" PRIu64 " bytes of "
                                         "memory: %s",
                                         size, strerror(-result));
}

static struct backend_context *memory_join(struct backend *backend,
                                           struct reactor *reactor,
                                           struct rdisk_error *err)
{
    struct memory_context *context = calloc(1, sizeof(*context));

    if (!context) {
        rdisk_error_set(err, -ENOMEM, "no memory for a volume in memory");
        return NULL;
    }
    context->base.backend = backend;
    context->base.reactor = reactor;
    return &context->base;
}

static void memory_leave(struct backend_context *base)
{
    free(container_of(base, struct memory_context, base));
}

/* Under a block's lock: true if the volume is still as long as it was when the
 * request came. */
static bool inside(const struct memory *memory, uint64_t offset, uint32_t n)
{
    return offset + n <= memory->size;
}

static bool transfer_block(struct memory *memory, enum rdisk_op op,
                           uint64_t offset, char *data, uint32_t n)
{
    pthread_spinlock_t *lock = &memory->locks[offset / BLOCK % LOCKS];
    bool done;

    pthread_spin_lock(lock);
    done = inside(memory, offset, n);
    if (done) {
        switch (op) {
        case RDISK_OP_READ:
            memcpy(data, memory->bytes + offset, n);
            break;
        case RDISK_OP_WRITE:
            memcpy(memory->bytes + offset, data, n);
            break;
        default:
            memset(memory->bytes + offset, 0, n);
            break;
        }
    }
    pthread_spin_unlock(lock);
    return done;
}

/* From io->done on, up to @end. */
static int transfer(struct memory *memory, struct backend_io *io, uint32_t end)
{
    uint32_t n;

    for (; io->done < end; io->done += n) {
        uint64_t offset = io->offset + io->done;
        /* DISCARD and ZEROES have none. */
        char *data = io->data ? (char *)io->data + io->done : NULL;

        n = BLOCK - offset % BLOCK;
        if (n > end - io->done) {
            n = end - io->done;
        }
        if (!transfer_block(memory, io->op, offset, data, n)) {
            return -EIO;
        }
    }
    return 0;
}

/* The same. Through a block of its own, since source and target may share a
 * lock. */
static int copy(struct memory *memory, struct backend_io *io, uint32_t end)
{
    char block[BLOCK];
    uint32_t n;

    for (; io->done < end; io->done += n) {
        uint64_t from = io->source + io->done, to = io->offset + io->done;
        uint64_t most = from % BLOCK > to % BLOCK ? from % BLOCK : to % BLOCK;

        n = BLOCK - most;
        if (n > end - io->done) {
            n = end - io->done;
        }
        if (!transfer_block(memory, RDISK_OP_READ, from, block, n) ||
            !transfer_block(memory, RDISK_OP_WRITE, to, block, n)) {
            return -EIO;
        }
    }
    return 0;
}

/* The next piece of it. True: there is more. */
static bool carry_on(struct memory *memory, struct backend_io *io)
{
    uint32_t left = io->length - io->done;
    uint32_t end = io->done + (left < PIECE ? left : PIECE);

    io->result = io->op == RDISK_OP_COPY ? copy(memory, io, end)
                                         : transfer(memory, io, end);
    return io->result == 0 && io->done < io->length;
}

static bool piece_run(struct offload_job *job)
{
    struct backend_io *io = container_of(job, struct backend_io, job);

    return carry_on(memory_of(io->context->backend), io);
}

static void pieces_done(struct offload_job *job)
{
    struct backend_io *io = container_of(job, struct backend_io, job);

    backend_io_complete(io, io->result);
}

static void memory_submit(struct backend_context *base, struct backend_io *io)
{
    struct memory_context *context = container_of(base, struct memory_context,
                                                  base);

    io->done = 0;
    io->result = 0;
    if (io->op == RDISK_OP_EXTENTS) {
        /* Distinguishing zeroes from data would take as long as reading
         * them. */
        backend_io_extent(io, io->length, 0);
    } else if (io->op != RDISK_OP_FLUSH &&
               carry_on(memory_of(base->backend), io)) {
        io->context = base;
        io->job.run = piece_run;
        io->job.done = pieces_done;
        reactor_offload(base->reactor, &context->lane, &io->job);
        return;
    }
    backend_io_complete(io, io->result);
}

const struct backend_class backend_memory = {
    .name = "memory",
    .open = memory_open,
    .close = memory_close,
    .resize = memory_resize,
    .join = memory_join,
    .leave = memory_leave,
    .submit = memory_submit,
};
