/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/rig.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"
#include "server/backends/file.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/unit.h"

static void job_run(struct message *message)
{
    struct rig_job *job = (struct rig_job *)message;

    job->fn(job);
}

void rig_do(struct rig *rig, struct rig_job *job,
            void (*fn)(struct rig_job *job))
{
    job->message.run = job_run;
    job->rig = rig;
    job->fn = fn;
    sem_init(&job->done, 0, 0);
    reactor_send(rig->reactor, &job->message);
    while (sem_wait(&job->done) < 0) {
        /* interrupted */
    }
    sem_destroy(&job->done);
}

static void do_join(struct rig_job *job)
{
    struct rig *rig = job->rig;

    rig->context = rig->backend->class->join(rig->backend, rig->reactor,
                                             &rig->err);
    for (unsigned int ring = 0; ring < RING_KINDS; ring++) {
        rig->buffer[ring] = ring == RING_POLLED && !rig->context->polled
                                ? -1
                                : reactor_buffer_add(rig->reactor, ring,
                                                     rig->memory, RIG_MEMORY);
    }
    sem_post(&job->done);
}

static void do_leave(struct rig_job *job)
{
    struct rig *rig = job->rig;

    for (unsigned int ring = 0; ring < RING_KINDS; ring++) {
        reactor_buffer_remove(rig->reactor, ring, rig->buffer[ring]);
    }
    rig->backend->class->leave(rig->context);
    sem_post(&job->done);
}

/* A reactor for the backend, and memory. */
static void join(struct rig *rig, struct rig_job *job)
{
    rig->reactor = reactor_create(0, -1, 0, &rig->err);
    REQUIRE(rig->reactor != NULL);
    rig->memory = mmap(NULL, RIG_MEMORY, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(rig->memory != MAP_FAILED);
    rig_do(rig, job, do_join);
    REQUIRE(rig->context != NULL);
}

void rig_io_done(struct backend_io *io, int result, void *opaque)
{
    struct rig_job *job = opaque;

    if (result < 0) {
        job->result = result;
    } else if (job->rig) {
        job->rig->succeeded++;
    }
    if (--job->left == 0) {
        sem_post(&job->done);
    }
}

static void do_io(struct rig_job *job)
{
    struct backend_context *context = job->rig->context;
    struct backend_io *io = job->io;
    unsigned int count = job->count;

    job->left = count;
    job->result = 0;
    job->rig->succeeded = 0;
    /* The last completion ends the job, which may then be gone. */
    for (unsigned int i = 0; i < count; i++) {
        io[i].depth = 0;
        backend_io_push(&io[i], rig_io_done, job);
        backend_submit(context, &io[i]);
    }
}

int rig_submit(struct rig *rig, struct backend_io *io, unsigned int count)
{
    struct rig_job job = { .io = io, .count = count };

    rig_do(rig, &job, do_io);
    return job.result;
}

int rig_io(struct rig *rig, enum rdisk_op op, unsigned int flags,
           uint64_t offset, uint32_t length)
{
    struct backend_io io = {
        .op = op,
        .flags = flags,
        .offset = offset,
        .length = length,
        .data = rig->memory,
        .buffer = RIG_BUFFER(rig),
    };

    return rig_submit(rig, &io, 1);
}

void rig_join(struct rig *rig, struct backend *backend)
{
    struct rig_job job = { 0 };

    memset(rig, 0, sizeof(*rig));
    rig->backend = backend;
    join(rig, &job);
}

void rig_leave(struct rig *rig)
{
    struct rig_job job = { 0 };

    rig_do(rig, &job, do_leave);
    reactor_destroy(rig->reactor);
    munmap(rig->memory, RIG_MEMORY);
}

void rig_rejoin(struct rig *rig)
{
    struct rig_job job = { 0 };

    rig_do(rig, &job, do_leave);
    rig_do(rig, &job, do_join);
    REQUIRE(rig->context != NULL);
}

void rig_shut(struct rig *rig)
{
    struct rig_job job = { 0 };

    rig_do(rig, &job, do_leave);
    rig->class = rig->backend->class;
    rig->class->close(rig->backend);
    rig->backend = NULL;
}

void rig_reopen(struct rig *rig, const struct backend_spec *spec)
{
    struct rig_job job = { 0 };

    if (rig->backend) {
        rig_shut(rig);
    }
    rig->backend = rig->class->open(spec, &rig->err);
    REQUIRE(rig->backend != NULL);
    rig_do(rig, &job, do_join);
    REQUIRE(rig->context != NULL);
}

void rig_open(struct rig *rig, const struct backend_class *class,
              struct backend_spec *spec)
{
    struct rig_job job = { 0 };

    rig->backend = class->open(spec, &rig->err);
    REQUIRE(rig->backend != NULL);
    if (rig->poll) {
        rig->backend->polled = true;
        rig->backend->inline_io = false;
    }
    join(rig, &job);
}

void rig_close(struct rig *rig)
{
    rig_leave(rig);
    rig->backend->class->close(rig->backend);
    log_set_level(RDISK_LOG_INFO);
    if (rig->path[0]) {
        unlink(rig->path);
    }
}

static void open_file(struct rig *rig, const char *folder, bool read_only)
{
    struct backend_spec spec = {
        .volume = "v",
        .path = rig->path,
        .directory = AT_FDCWD,
        .read_only = read_only,
    };
    int fd;

    log_set_level(QUIET);
    snprintf(rig->path, sizeof(rig->path), "%s/rdisk-unit-XXXXXX", folder);
    fd = mkstemp(rig->path);
    REQUIRE(fd >= 0);
    REQUIRE(ftruncate(fd, RIG_VOLUME) == 0);
    close(fd);
    rig_open(rig, &backend_file, &spec);
}

void rig_open_file(struct rig *rig, const char *folder, bool read_only)
{
    memset(rig, 0, sizeof(*rig));
    open_file(rig, folder, read_only);
}

void rig_open_buffered(struct rig *rig, const char *folder)
{
    struct file *file;
    int flags;

    rig_open_file(rig, folder, false);
    file = file_of(rig->backend);
    flags = fcntl(file->fd, F_GETFL);
    REQUIRE(fcntl(file->fd, F_SETFL, flags & ~O_DIRECT) == 0);
    file->direct = false;
    file->takes_turns = true;
}

void rig_open_polled(struct rig *rig, const char *folder)
{
    memset(rig, 0, sizeof(*rig));
    rig->poll = true;
    open_file(rig, folder, false);
}

char rig_pattern(unsigned int block, unsigned int i, unsigned int round)
{
    return block * 7 + i * 13 + round * 31 + 1;
}

void rig_check_keeps(struct rig *rig)
{
    static const uint32_t lengths[] = { 4096, 512 * 24, 131072, RIG_MEMORY };

    for (unsigned int n = 0; n < sizeof(lengths) / sizeof(lengths[0]); n++) {
        uint64_t offset = n == 3 ? RIG_VOLUME - RIG_MEMORY : n * 512 * 1024;
        unsigned int wrong = 0;

        for (unsigned int i = 0; i < lengths[n]; i++) {
            rig->memory[i] = rig_pattern(0, i, n);
        }
        CHECK_EQUAL(rig_io(rig, RDISK_OP_WRITE, n % 2 ? RDISK_REQUEST_FUA : 0,
                           offset, lengths[n]),
                    0);
        memset(rig->memory, 0, RIG_MEMORY);
        CHECK_EQUAL(rig_io(rig, RDISK_OP_FLUSH, 0, 0, 0), 0);
        CHECK_EQUAL(rig_io(rig, RDISK_OP_READ, 0, offset, lengths[n]), 0);
        for (unsigned int i = 0; i < lengths[n]; i++) {
            wrong += rig->memory[i] != rig_pattern(0, i, n);
        }
        CHECK_EQUAL(wrong, 0);
    }
}

void rig_check_many(struct rig *rig)
{
    static struct backend_io io[RIG_MANY];
    unsigned int wrong = 0;

    for (unsigned int i = 0; i < RIG_MANY; i++) {
        io[i] = (struct backend_io) {
            .op = RDISK_OP_WRITE,
            .offset = i * 8192,
            .length = 4096,
            .data = rig->memory + i * 4096,
            .buffer = RIG_BUFFER(rig),
        };
        memset(io[i].data, rig_pattern(i, 0, 9), 4096);
    }
    CHECK_EQUAL(rig_submit(rig, io, RIG_MANY), 0);
    memset(rig->memory, 0, RIG_MEMORY);
    for (unsigned int i = 0; i < RIG_MANY; i++) {
        io[i].op = RDISK_OP_READ;
    }
    CHECK_EQUAL(rig_submit(rig, io, RIG_MANY), 0);
    for (unsigned int i = 0; i < RIG_MANY * 4096; i++) {
        wrong += rig->memory[i] != rig_pattern(i / 4096, 0, 9);
    }
    CHECK_EQUAL(wrong, 0);
}

void rig_check_ranges(struct rig *rig)
{
    unsigned int wrong = 0;

    CHECK(rig->backend->geometry.discard && rig->backend->geometry.zeroes);
    memset(rig->memory, 'x', RIG_MEMORY);
    CHECK_EQUAL(rig_io(rig, RDISK_OP_WRITE, 0, 0, RIG_MEMORY), 0);
    CHECK_EQUAL(rig_io(rig, RDISK_OP_ZEROES, RDISK_REQUEST_FUA, 4096, 8192), 0);
    CHECK_EQUAL(rig_io(rig, RDISK_OP_ZEROES, RDISK_REQUEST_UNMAP, 16384, 4096),
                0);
    CHECK_EQUAL(rig_io(rig, RDISK_OP_DISCARD, 0, 24576, 4096), 0);
    CHECK_EQUAL(rig_io(rig, RDISK_OP_READ, 0, 0, RIG_MEMORY), 0);
    for (unsigned int i = 0; i < RIG_MEMORY; i++) {
        bool zero = (i >= 4096 && i < 12288) || (i >= 16384 && i < 20480);
        bool unknown = i >= 24576 && i < 28672;

        wrong += !unknown && rig->memory[i] != (zero ? 0 : 'x');
    }
    CHECK_EQUAL(wrong, 0);
}

void rig_check_idle(struct reactor *reactor)
{
    struct reactor_info before, after;

    for (unsigned int i = 0; i < 5; i++) {
        reactor_info(reactor, &before);
        usleep(200000);
        reactor_info(reactor, &after);
        if (after.turns == before.turns) {
            return;
        }
    }
    CHECK_EQUAL(after.turns, before.turns);
}
