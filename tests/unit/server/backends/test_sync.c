/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flushes that fail. The kernel fails one when the description that is synced
 * can be no file; it is given another for a while.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/backends/file.h"
#include "server/volume/losses.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

/* As the kernel does with a failed write-back: the next sync of @fd fails, and
 * those after mend() do not. */
static int hurt(int fd)
{
    int saved = dup(fd), ends[2];

    REQUIRE(saved >= 0 && pipe(ends) == 0);
    REQUIRE(dup2(ends[0], fd) == fd);
    close(ends[0]);
    close(ends[1]);
    return saved;
}

static void mend(int fd, int saved)
{
    REQUIRE(dup2(saved, fd) == fd);
    close(saved);
}

static int flush(struct rig *rig)
{
    return rig_io(rig, RDISK_OP_FLUSH, 0, 0, 0);
}

static int write_fua(struct rig *rig)
{
    return rig_io(rig, RDISK_OP_WRITE, RDISK_REQUEST_FUA, 0, 4096);
}

/* One flush fails, the storage is well again. */
static void lose(struct rig *rig)
{
    int fd = file_of(rig->backend)->sync.fd, saved = hurt(fd);

    CHECK_EQUAL(flush(rig), -EIO);
    mend(fd, saved);
}

static void stays(struct rig *rig)
{
    lose(rig);
    CHECK_EQUAL(flush(rig), -EIO);
    CHECK_EQUAL(write_fua(rig), -EIO);
    CHECK_EQUAL(rig_io(rig, RDISK_OP_ZEROES, RDISK_REQUEST_FUA, 0, 4096), -EIO);
    CHECK_EQUAL(flush(rig), -EIO);
    /* What promises nothing goes on. */
    CHECK_EQUAL(rig_io(rig, RDISK_OP_WRITE, 0, 0, 4096), 0);
    CHECK_EQUAL(rig_io(rig, RDISK_OP_READ, 0, 0, 4096), 0);
    rig_close(rig);
}

static void test_stays(void)
{
    struct rig rig;

    rig_open_file(&rig, "/var/tmp", false);
    stays(&rig);
    rig_open_buffered(&rig, "/var/tmp");
    stays(&rig);
}

static void test_is_shown(void)
{
    struct rig rig;

    rig_open_buffered(&rig, "/var/tmp");
    CHECK(!backend_has_lost(rig.backend));
    CHECK_EQUAL(backend_losses(rig.backend), 0);
    lose(&rig);
    CHECK(backend_has_lost(rig.backend));
    CHECK_EQUAL(backend_losses(rig.backend), 1);
    rig_rejoin(&rig);
    CHECK(!backend_has_lost(rig.backend));
    CHECK_EQUAL(backend_losses(rig.backend), 1);
    rig_close(&rig);
}

static void test_every_client(void)
{
    struct rig one, other;

    rig_open_buffered(&one, "/var/tmp");
    rig_join(&other, one.backend);
    CHECK_EQUAL(flush(&other), 0);
    lose(&one);
    CHECK_EQUAL(flush(&other), -EIO);
    CHECK_EQUAL(write_fua(&other), -EIO);
    CHECK_EQUAL(flush(&other), -EIO);
    rig_leave(&other);
    rig_close(&one);
}

static void test_opened_anew_by_all(void)
{
    struct rig one, other;

    rig_open_buffered(&one, "/var/tmp");
    rig_join(&other, one.backend);
    lose(&one);
    rig_leave(&other);
    rig_join(&other, one.backend);
    CHECK_EQUAL(flush(&other), -EIO);
    rig_leave(&other);
    rig_rejoin(&one);
    CHECK_EQUAL(flush(&one), 0);
    CHECK_EQUAL(write_fua(&one), 0);
    rig_close(&one);
}

#define FLUSHES 20

/* All but the first find a sync in flight. */
static void test_at_once(void)
{
    struct backend_io io[FLUSHES];
    struct rig rig;
    int fd, saved;

    for (unsigned int i = 0; i < FLUSHES; i++) {
        io[i] = (struct backend_io) { .op = RDISK_OP_FLUSH,
                                      .buffer = { -1, -1 } };
    }
    rig_open_buffered(&rig, "/var/tmp");
    CHECK_EQUAL(rig_submit(&rig, io, FLUSHES), 0);
    CHECK_EQUAL(rig.succeeded, FLUSHES);
    fd = file_of(rig.backend)->sync.fd;
    saved = hurt(fd);
    CHECK_EQUAL(rig_submit(&rig, io, FLUSHES), -EIO);
    mend(fd, saved);
    CHECK_EQUAL(rig.succeeded, 0);
    rig_close(&rig);
}

/* Of turns that are over: this one is not. */
static void do_count(struct rig_job *job)
{
    struct reactor_info info;

    reactor_info(job->rig->reactor, &info);
    job->count = info.completions;
    sem_post(&job->done);
}

static unsigned int completions(struct rig *rig)
{
    struct rig_job job = { 0 };

    rig_do(rig, &job, do_count);
    return job.count;
}

/* Of three at once the first has a sync, and the two that may have come after
 * it had passed their data by have another. */
static void test_not_before_it_came(void)
{
    struct backend_io io[3];
    unsigned int before;
    struct rig rig;

    for (unsigned int i = 0; i < 3; i++) {
        io[i] = (struct backend_io) { .op = RDISK_OP_FLUSH,
                                      .buffer = { -1, -1 } };
    }
    rig_open_file(&rig, "/var/tmp", false);
    before = completions(&rig);
    CHECK_EQUAL(rig_submit(&rig, io, 3), 0);
    /* The first message, the second one, and the syncs. */
    CHECK_EQUAL(completions(&rig) - before, 2 + 2);
    rig_close(&rig);
}

static void *flush_often(void *opaque)
{
    struct rig *rig = opaque;
    long failed = 0;

    for (unsigned int i = 0; i < 300; i++) {
        failed += flush(rig) != 0;
    }
    return (void *)failed;
}

static void test_two_reactors(void)
{
    struct rig one, other;
    pthread_t thread;
    void *failed;

    rig_open_buffered(&one, "/var/tmp");
    rig_join(&other, one.backend);
    REQUIRE(pthread_create(&thread, NULL, flush_often, &other) == 0);
    CHECK(flush_often(&one) == NULL);
    pthread_join(thread, &failed);
    CHECK(failed == NULL);
    rig_leave(&other);
    CHECK_EQUAL(flush(&one), 0);
    rig_close(&one);
}

/* ---- Who else syncs --------------------------------------------------- */

/* A block that cannot be written fails no request on another. */
static void test_fua_that_fails_itself(void)
{
    int fd, saved, registered, *index;
    struct rig rig;

    rig_open_file(&rig, "/var/tmp", false);
    index = &container_of(rig.context, struct file_context, base)->index[0];
    registered = *index;
    /* Else the kernel would not look at the descriptor. */
    *index = -1;
    fd = file_of(rig.backend)->fd;
    saved = hurt(fd);
    CHECK(write_fua(&rig) < 0);
    mend(fd, saved);
    *index = registered;
    CHECK_EQUAL(flush(&rig), 0);
    CHECK_EQUAL(write_fua(&rig), 0);
    rig_close(&rig);
}

static void fua_done(struct backend_io *io, int result, void *opaque)
{
    struct rig_job *job = opaque;

    if (job->count++ == 0) {
        /* It was carried out; as if the kernel had said otherwise. */
        backend_io_push(io, fua_done, job);
        io->result = 0;
        io->ring.done(&io->ring, -ENOSPC, 0);
        return;
    }
    job->result = result;
    sem_post(&job->done);
}

static void do_fua(struct rig_job *job)
{
    backend_io_push(job->io, fua_done, job);
    backend_submit(job->rig->context, job->io);
}

static void test_fua_that_fails_for_others(void)
{
    struct rig rig;
    struct backend_io io = {
        .op = RDISK_OP_WRITE,
        .flags = RDISK_REQUEST_FUA,
        .length = 4096,
    };
    struct rig_job job = { .io = &io };

    rig_open_file(&rig, "/var/tmp", false);
    REQUIRE(file_of(rig.backend)->direct);
    io.data = rig.memory;
    memcpy(io.buffer, rig.buffer, sizeof(io.buffer));
    rig_do(&rig, &job, do_fua);
    CHECK_EQUAL(job.result, -EIO);
    CHECK_EQUAL(flush(&rig), -EIO);
    rig_close(&rig);
}

/* ---- Clients that come back ------------------------------------------- */

static void test_another_cache(void)
{
    uint8_t before[RDISK_ID_SIZE], after[RDISK_ID_SIZE], again[RDISK_ID_SIZE];
    struct backend_spec spec = { .volume = "v", .directory = AT_FDCWD };
    struct rig rig;

    rig_open_buffered(&rig, "/var/tmp");
    backend_cache(rig.backend, before);
    CHECK_EQUAL(flush(&rig), 0);
    backend_cache(rig.backend, after);
    CHECK(memcmp(before, after, RDISK_ID_SIZE) == 0);
    lose(&rig);
    backend_cache(rig.backend, after);
    CHECK(memcmp(before, after, RDISK_ID_SIZE) != 0);
    /* Also if the volume was closed meanwhile. */
    rig_rejoin(&rig);
    backend_cache(rig.backend, again);
    CHECK(memcmp(after, again, RDISK_ID_SIZE) == 0);
    spec.path = rig.path;
    rig_reopen(&rig, &spec);
    backend_cache(rig.backend, again);
    CHECK(memcmp(after, again, RDISK_ID_SIZE) == 0);
    CHECK_EQUAL(flush(&rig), 0);
    rig_close(&rig);
}

/* What a server with the file @path announces of the volume in @rig. */
static void cache_of_next_server(struct rig *rig, const char *path,
                                 uint8_t cache[RDISK_ID_SIZE])
{
    struct backend_spec spec = { .volume = "v",
                                 .directory = AT_FDCWD,
                                 .path = rig->path };
    struct rdisk_error err;

    losses_close();
    REQUIRE(losses_open(path, &err) == 0);
    rig_reopen(rig, &spec);
    backend_cache(rig->backend, cache);
}

static void test_next_server(void)
{
    char path[] = "/dev/shm/rdisk-losses-XXXXXX";
    uint8_t before[RDISK_ID_SIZE], after[RDISK_ID_SIZE], again[RDISK_ID_SIZE];
    struct rdisk_error err;
    struct rig rig;
    int fd = mkstemp(path);

    REQUIRE(fd >= 0);
    close(fd);
    losses_close();
    REQUIRE(losses_open(path, &err) == 0);
    rig_open_buffered(&rig, "/var/tmp");
    backend_cache(rig.backend, before);
    lose(&rig);
    backend_cache(rig.backend, after);
    rig_shut(&rig);
    cache_of_next_server(&rig, path, again);
    CHECK_EQUAL(backend_losses(rig.backend), 1);
    CHECK(memcmp(before, again, RDISK_ID_SIZE) != 0);
    CHECK(memcmp(after, again, RDISK_ID_SIZE) == 0);
    lose(&rig);
    rig_shut(&rig);
    cache_of_next_server(&rig, path, again);
    CHECK_EQUAL(backend_losses(rig.backend), 2);
    rig_close(&rig);
    losses_close();
    unlink(path);
}

static void refused(const char *path, const char *why)
{
    struct rdisk_error err;

    CHECK(losses_open(path, &err) < 0);
    CHECK_SAYS(err.text, why);
    losses_close();
}

static void test_only_in_memory(void)
{
    char disk[] = "/var/tmp/rdisk-losses-XXXXXX";
    char memory[] = "/dev/shm/rdisk-losses-XXXXXX";
    int fd = mkstemp(disk), other = mkstemp(memory);

    REQUIRE(fd >= 0 && other >= 0);
    losses_close();
    refused(disk, "it is not on tmpfs");
    CHECK(access(disk, F_OK) < 0);
    REQUIRE(write(other, "anything", 8) == 8);
    refused(memory, "it is another file");
    close(fd);
    close(other);
    unlink(memory);
}

static const struct unit_test tests[] = {
    { "a failed write-back is known until all have closed, and counted",
      test_is_shown },
    { "after a failed flush every flush and FUA write fails", test_stays },
    { "a failed flush is reported to every client", test_every_client },
    { "a failed flush is over when all have opened the volume again",
      test_opened_anew_by_all },
    { "of flushes at once none succeeds if one fails", test_at_once },
    { "a flush is not answered by a sync that began before it",
      test_not_before_it_came },
    { "reactors share the syncs of a volume", test_two_reactors },
    { "a FUA write that fails itself loses nothing else",
      test_fua_that_fails_itself },
    { "a FUA write whose sync fails makes flushes fail",
      test_fua_that_fails_for_others },
    { "after a failed flush the volume has another cache", test_another_cache },
    { "after a failed flush it has another cache at the next server too",
      test_next_server },
    { "losses are kept in a file in memory, and in no other",
      test_only_in_memory },
};

UNIT_SUITE("server-sync", tests)
