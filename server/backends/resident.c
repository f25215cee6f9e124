/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file or block device, read into memory when it is opened, and served from
 * there, to be read only: the image that many guests start from. What becomes
 * of the file meanwhile is of no concern: whoever truncates it, punches holes
 * into it or removes it changes nothing that is served. So all of it is
 * ordinary memory, allocated in full: no access to it can fail, and to register
 * it allocates nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/backends/file.h"

/* Read at a time. */
#define PIECE (1u << 20)
/* Of the memory that is available, this part is left to others. */
#define SPARE_PART 8

struct resident {
    struct backend base;
    struct backend *file; /* open as long: nobody writes to it through us */
    char *bytes;
};

static struct resident *resident_of(struct backend *backend)
{
    return container_of(backend, struct resident, base);
}

/* ---- Open ------------------------------------------------------------- */

/* Bytes that may be allocated without swapping; UINT64_MAX: not known. */
static uint64_t available_memory(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    uint64_t kilobytes;
    char line[128];
    bool found = false;

    if (!file) {
        return UINT64_MAX;
    }
    while (!found && fgets(line, sizeof(line), file)) {
        found = sscanf(line, "MemAvailable: %" SCNu64 " kB", &kilobytes) == 1;
    }
    fclose(file);
    return found ? kilobytes * 1024 : UINT64_MAX;
}

/* The kernel would grant it, and end a program later for lack of it. */
static int check_memory(const struct backend_spec *spec, uint64_t size,
                        struct rdisk_error *err)
{
    uint64_t available = available_memory();

    if (size <= available - available / SPARE_PART) {
        return 0;
    }
    return rdisk_error_set(err, -ENOMEM,
                           "volume '%s' is resident and has %" PRIu64
                           " bytes, of %" PRIu64 " bytes of memory that are "
                           "available: add memory, or use backend = file",
                           spec->volume, size, available);
}

/* All of it, in huge pages where the kernel has some. */
static int allocate(struct resident *resident, const struct backend_spec *spec,
                    struct rdisk_error *err)
{
    uint64_t size = resident->base.geometry.size;
    int result = check_memory(spec, size, err);
    void *bytes;

    if (result < 0) {
        return result;
    }
    bytes = mmap(NULL, size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) {
        return rdisk_error_set(err, -ENOMEM,
                               "cannot allocate %" PRIu64 " bytes for "
                               "resident volume '%s': %s",
                               size, spec->volume, strerror(errno));
    }
    resident->bytes = bytes;
    madvise(bytes, size, MADV_HUGEPAGE);
    madvise(bytes, size, MADV_DONTDUMP);
    return 0;
}

/* From @done on. Bytes, or a negative errno. */
static ssize_t load_piece(const struct resident *resident, uint64_t done)
{
    uint64_t left = resident->base.geometry.size - done;
    ssize_t n;

    do {
        n = pread(file_of(resident->file)->fd, resident->bytes + done,
                  left < PIECE ? left : PIECE, (off_t)done);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int load(struct resident *resident, const struct backend_spec *spec,
                struct rdisk_error *err)
{
    uint64_t size = resident->base.geometry.size;
    ssize_t n;

    for (uint64_t done = 0; done < size; done += (uint64_t)n) {
        n = load_piece(resident, done);
        if (n <= 0) {
            return rdisk_error_set(err, n < 0 ? (int)n : -EIO,
                                   "cannot read resident volume '%s' at "
                                   "%" PRIu64 ": %s",
                                   spec->volume, done,
                                   n < 0 ? strerror((int)-n)
                                         : "the file is shorter than it was");
        }
        if (spec->loaded) {
            atomic_store(spec->loaded, done + (uint64_t)n);
        }
    }
    /* Nobody writes to it any more, by mistake either. */
    mprotect(resident->bytes, size, PROT_READ);
    return 0;
}

static void resident_close(struct backend *backend)
{
    struct resident *resident = resident_of(backend);

    if (resident->bytes) {
        munmap(resident->bytes, backend->geometry.size);
    }
    if (resident->file) {
        resident->file->class->close(resident->file);
    }
    free(resident);
}

/* What its file is known by, it is known by. */
static void take_identity(struct resident *resident)
{
    const struct backend *file = resident->file;
    struct backend *base = &resident->base;

    memcpy(base->identity, file->identity, sizeof(base->identity));
    memcpy(base->place, file->place, sizeof(base->place));
    memcpy(base->cache, file->cache, sizeof(base->cache));
    base->moved = file->moved;
    base->fresh = file->fresh;
}

static int open_resident(struct resident *resident,
                         const struct backend_spec *spec,
                         struct rdisk_error *err)
{
    struct backend *base = &resident->base;

    resident->file = backend_file.open(spec, err);
    if (!resident->file) {
        return -EIO;
    }
    base->class = &backend_resident;
    base->inline_io = true;
    base->lasting = true;
    base->geometry = (struct backend_geometry) {
        .size = resident->file->geometry.size,
        .block_size = RDISK_BLOCK_SIZE_MIN,
        .optimal_size = resident->file->geometry.optimal_size,
        .read_only = true,
        .extents = true,
    };
    take_identity(resident);
    if (allocate(resident, spec, err) < 0 || load(resident, spec, err) < 0) {
        return -EIO;
    }
    base->resident = resident->bytes;
    return 0;
}

static struct backend *resident_open(const struct backend_spec *spec,
                                     struct rdisk_error *err)
{
    struct resident *resident;

    if (!spec->path || !spec->read_only) {
        rdisk_error_set(err, -EINVAL,
                        "volume '%s' is resident: it needs path= and "
                        "read-only = on",
                        spec->volume);
        return NULL;
    }
    if (backend_not_polled(spec, "it is resident", err) < 0) {
        return NULL;
    }
    resident = calloc(1, sizeof(*resident));
    if (!resident) {
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                        spec->volume);
        return NULL;
    }
    if (open_resident(resident, spec, err) < 0) {
        resident_close(&resident->base);
        return NULL;
    }
    return &resident->base;
}

/* ---- What its file knows ------------------------------------------------ */

static int resident_identify(struct backend *backend)
{
    struct backend *file = resident_of(backend)->file;

    return file->class->identify(file);
}

static uint64_t resident_changed(struct backend *backend)
{
    struct backend *file = resident_of(backend)->file;

    return file->class->changed(file);
}

/* ---- Requests --------------------------------------------------------- */

static struct backend_context *resident_join(struct backend *backend,
                                             struct reactor *reactor,
                                             struct rdisk_error *err)
{
    struct backend_context *context = calloc(1, sizeof(*context));

    if (!context) {
        rdisk_error_set(err, -ENOMEM, "no memory for a resident volume");
        return NULL;
    }
    context->backend = backend;
    context->reactor = reactor;
    return context;
}

static void resident_leave(struct backend_context *context)
{
    free(context);
}

static void resident_submit(struct backend_context *context,
                            struct backend_io *io)
{
    const struct resident *resident = resident_of(context->backend);

    if (io->op == RDISK_OP_READ) {
        io->stored = resident->bytes + io->offset;
    } else if (io->op == RDISK_OP_EXTENTS) {
        io->done = 0;
        backend_io_extent(io, io->length, 0);
    }
    backend_io_complete(io, 0);
}

const struct backend_class backend_resident = {
    .name = "resident",
    .has_path = true,
    .loads = true,
    .open = resident_open,
    .close = resident_close,
    .identify = resident_identify,
    .changed = resident_changed,
    .join = resident_join,
    .leave = resident_leave,
    .submit = resident_submit,
};
