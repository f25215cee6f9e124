/* SPDX-License-Identifier: BSD-3-Clause */
/* Backends on a real reactor and its io_uring. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/log.h"
#include "server/backends/backend.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

static void check_file_byte(struct rig *rig, off_t offset, char expected)
{
    int fd = open(rig->path, O_RDONLY);
    char byte;

    CHECK_EQUAL(pread(fd, &byte, 1, offset), 1);
    CHECK_EQUAL(byte, expected);
    close(fd);
}

/* ---- Promises of every backend that keeps bytes ----------------------- */

static void test_file(void)
{
    struct rig rig;

    rig_open_file(&rig, "/var/tmp", false);
    CHECK_EQUAL(rig.backend->geometry.size, RIG_VOLUME);
    CHECK(rig.buffer[RING_ORDINARY] >= 0);
    rig_check_keeps(&rig);
    rig_check_many(&rig);
    check_file_byte(&rig, RIG_VOLUME - RIG_MEMORY + 5, rig_pattern(0, 5, 3));
    rig_close(&rig);
}

static void test_tmpfs(void)
{
    struct rig rig;

    rig_open_file(&rig, "/dev/shm", false);
    CHECK_EQUAL(rig.backend->geometry.block_size, 512);
    rig_check_keeps(&rig);
    rig_check_many(&rig);
    rig_close(&rig);
}

static bool takes_nowait(const char *path)
{
    char byte;
    struct iovec iov = { &byte, 1 };
    int fd = open(path, O_RDONLY);
    bool takes = preadv2(fd, &iov, 1, 0, RWF_NOWAIT) >= 0 ||
                 errno != EOPNOTSUPP;

    close(fd);
    return takes;
}

/* What goes through the ring comes out of it; messages do anyway. */
static void check_way(const char *folder, bool memory)
{
    struct reactor_info before, after;
    struct rig rig;
    bool through_ring;

    rig_open_file(&rig, folder, false);
    through_ring = !memory || takes_nowait(rig.path);
    CHECK_EQUAL(rig.backend->inline_io, !through_ring);
    reactor_info(rig.reactor, &before);
    rig_check_many(&rig);
    /* The counter moves at the end of a turn. */
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_FLUSH, 0, 0, 0), 0);
    reactor_info(rig.reactor, &after);
    CHECK_EQUAL(after.completions - before.completions >= 2 * RIG_MANY,
                through_ring);
    rig_close(&rig);
}

static void test_inline(void)
{
    check_way("/var/tmp", false);
    check_way("/dev/shm", true);
}

static void test_memory(void)
{
    struct backend_spec spec = { .volume = "m", .size = RIG_VOLUME };
    struct rig rig = { 0 };

    rig_open(&rig, &backend_memory, &spec);
    rig_check_keeps(&rig);
    rig_check_many(&rig);
    rig_close(&rig);
}

static uint64_t blocks_of(const struct rig *rig)
{
    struct stat st;

    REQUIRE(stat(rig->path, &st) == 0);
    return (uint64_t)st.st_blocks;
}

static void test_ranges(void)
{
    struct backend_spec spec = { .volume = "m", .size = RIG_VOLUME };
    struct rig rig;
    uint64_t full;

    rig_open_file(&rig, "/var/tmp", false);
    rig_check_ranges(&rig);
    memset(rig.memory, 'y', RIG_MEMORY);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, RDISK_REQUEST_FUA, 0, RIG_MEMORY),
                0);
    full = blocks_of(&rig);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_DISCARD, 0, 0, RIG_MEMORY), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_FLUSH, 0, 0, 0), 0);
    CHECK(blocks_of(&rig) + RIG_MEMORY / 512 <= full);
    rig_close(&rig);

    memset(&rig, 0, sizeof(rig));
    rig_open(&rig, &backend_memory, &spec);
    rig_check_ranges(&rig);
    rig_close(&rig);
}

/* tmpfs has holes, but no zeroing in place. */
static void test_ranges_unsupported(void)
{
    struct rig rig;

    rig_open_file(&rig, "/dev/shm", false);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_DISCARD, 0, 0, 65536), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_ZEROES, RDISK_REQUEST_UNMAP, 0, 65536),
                0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_ZEROES, 0, 0, 65536), -ENOTSUP);
    rig_close(&rig);
}

/* Slots that could not be registered work the same. */
static void test_unregistered(void)
{
    struct rig rig;
    int buffer;

    rig_open_file(&rig, "/var/tmp", false);
    buffer = rig.buffer[RING_ORDINARY];
    rig.buffer[RING_ORDINARY] = -1;
    rig_check_keeps(&rig);
    rig.buffer[RING_ORDINARY] = buffer;
    rig_close(&rig);
}

/* ---- Null ------------------------------------------------------------- */

static void test_null(void)
{
    struct backend_spec spec = { .volume = "n", .size = 1ull << 40 };
    struct rig rig = { 0 };

    rig_open(&rig, &backend_null, &spec);
    memset(rig.memory, 'x', 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 1ull << 39, 4096), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_FLUSH, 0, 0, 0), 0);
    /* Another client's bytes must not shine through the slot. */
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 1ull << 39, 4096), 0);
    CHECK_EQUAL(rig.memory[0], 0);
    CHECK_EQUAL(rig.memory[4095], 0);
    rig_close(&rig);
}

/* ---- Failures --------------------------------------------------------- */

static void check_truncated(const char *folder)
{
    struct rig rig;

    rig_open_file(&rig, folder, false);
    memset(rig.memory, 'a', 8192);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 8192), 0);
    CHECK_EQUAL(truncate(rig.path, 4096), 0);
    /* Not quietly zeroes: the volume has lost its bytes. One short read at
     * first, then nothing. */
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 8192), -EIO);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 1 << 20, 4096), -EIO);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 4096), 0);
    rig_close(&rig);
}

static void test_truncated_behind_us(void)
{
    check_truncated("/var/tmp");
    check_truncated("/dev/shm");
}

static void test_kernel_errors_come_back(void)
{
    struct rig rig;

    rig_open_file(&rig, "/var/tmp", true);
    CHECK(rig.backend->geometry.read_only);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 4096), -EBADF);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 4096), 0);
    rig_close(&rig);
}

static void check_open_fails(const struct backend_class *class,
                             struct backend_spec spec, const char *words)
{
    struct rdisk_error err = { 0 };

    spec.volume = "v";
    CHECK(!class->open(&spec, &err));
    CHECK(err.code < 0);
    CHECK_SAYS(err.text, words);
}

static void test_bad_specs(void)
{
    check_open_fails(&backend_file, (struct backend_spec) { 0 }, "needs path=");
    check_open_fails(&backend_file,
                     (struct backend_spec) { .path = "/nonexistent",
                                             .directory = AT_FDCWD },
                     "/nonexistent");
    check_open_fails(&backend_file,
                     (struct backend_spec) { .path = "/dev/null",
                                             .directory = AT_FDCWD },
                     "not a file or a block device");
    check_open_fails(&backend_memory, (struct backend_spec) { 0 },
                     "needs size=");
    check_open_fails(&backend_memory, (struct backend_spec) { .size = 513 },
                     "not a multiple of 512");
    check_open_fails(&backend_null, (struct backend_spec) { 0 }, "needs size=");
    check_open_fails(&backend_null,
                     (struct backend_spec) { .size = 512, .path = "/x" },
                     "no path=");
}

static void test_unknown_class(void)
{
    struct rdisk_error err = { 0 };

    CHECK(!backend_find("tape", &err));
    CHECK_EQUAL(err.code, -EINVAL);
    CHECK_SAYS(err.text,
               "'tape' is not one of: file, memory, null, resident, rbd");
    CHECK(backend_find("file", &err) == &backend_file);
}

/* ---- Resize ----------------------------------------------------------- */

static void test_resize_memory(void)
{
    struct backend_spec spec = { .volume = "m", .size = RIG_VOLUME };
    struct rdisk_error err;
    struct rig rig = { 0 };

    rig_open(&rig, &backend_memory, &spec);
    memset(rig.memory, 'x', 8192);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 8192), 0);
    CHECK_EQUAL(backend_memory.resize(rig.backend, 512, &err), 0);
    CHECK_EQUAL(backend_memory.resize(rig.backend, RIG_VOLUME, &err), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 8192), 0);
    CHECK_EQUAL(rig.memory[511], 'x');
    /* What was truncated does not come back. */
    CHECK_EQUAL(rig.memory[512], 0);
    CHECK_EQUAL(rig.memory[4095], 0);
    CHECK_EQUAL(rig.memory[4096], 0);
    rig_close(&rig);
}

/* ---- Completion ------------------------------------------------------- */

static void inner_done(struct backend_io *io, int result, void *opaque)
{
    int *seen = opaque;

    *seen = result;
    backend_io_complete(io, -ENOSPC);
}

static void do_framed(struct rig_job *job)
{
    static int seen;

    seen = 77;
    job->left = 2;
    job->io->depth = 0;
    backend_io_push(job->io, rig_io_done, job);
    backend_io_push(job->io, inner_done, &seen);
    backend_submit(job->rig->context, job->io);
    job->count = seen == 0;
    sem_post(&job->done);
}

static void test_frames(void)
{
    struct backend_spec spec = { .volume = "m", .size = RIG_VOLUME };
    struct rig rig = { 0 };
    struct backend_io io = { .op = RDISK_OP_READ,
                             .length = 512,
                             .buffer = { -1, -1 } };
    struct rig_job job = { .io = &io, .count = 1 };

    rig_open(&rig, &backend_memory, &spec);
    io.data = rig.memory;
    rig_do(&rig, &job, do_framed);
    CHECK_EQUAL(job.result, -ENOSPC);
    CHECK_EQUAL(job.count, 1);
    rig_close(&rig);
}

/* ---- Reactor ---------------------------------------------------------- */

static void do_tables(struct rig_job *job)
{
    struct reactor *reactor = job->rig->reactor;
    static int index[5000];
    unsigned int given = 0;

    for (int i = 0; i < 5000; i++) {
        index[i] = reactor_buffer_add(reactor, RING_ORDINARY, job->rig->memory,
                                      4096);
        given += index[i] >= 0;
    }
    for (int i = 0; i < 5000; i++) {
        reactor_buffer_remove(reactor, RING_ORDINARY, index[i]);
    }
    job->count = given;
    /* Full, but not permanently. */
    index[0] = reactor_buffer_add(reactor, RING_ORDINARY, job->rig->memory,
                                  4096);
    job->result = index[0] >= 0;
    reactor_buffer_remove(reactor, RING_ORDINARY, index[0]);
    sem_post(&job->done);
}

static void test_tables(void)
{
    struct backend_spec spec = { .volume = "n", .size = RIG_VOLUME };
    struct rig rig = { 0 };
    struct rig_job job = { 0 };

    rig_open(&rig, &backend_null, &spec);
    rig_do(&rig, &job, do_tables);
    CHECK_EQUAL(job.count, 4095); /* the rig has one of them */
    CHECK_EQUAL(job.result, 1);
    rig_close(&rig);
}

static const struct unit_test tests[] = {
    { "a file keeps what was written, many at once", test_file },
    { "a file system without O_DIRECT serves the same", test_tmpfs },
    { "only a file in memory is served without the ring", test_inline },
    { "memory keeps what was written", test_memory },
    { "discard gives space back, zeroes read as such", test_ranges },
    { "what a file system cannot do is said, not done otherwise",
      test_ranges_unsupported },
    { "slots that are not registered work the same", test_unregistered },
    { "null reads as zeroes, never as the slot's past", test_null },
    { "a file cut short is an error, not zeroes", test_truncated_behind_us },
    { "the kernel's errors come back", test_kernel_errors_come_back },
    { "a spec that cannot be is refused with a sentence", test_bad_specs },
    { "a backend that does not exist is refused with those that do",
      test_unknown_class },
    { "bytes truncated by a resize do not come back", test_resize_memory },
    { "a completion reaches the last frame first, which may change it",
      test_frames },
    { "a full table of buffers is no error", test_tables },
};

UNIT_SUITE("server-backend", tests)
