/* SPDX-License-Identifier: BSD-3-Clause */
/* What backends do beside the ring: extents, copies, and other sizes. */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "server/backends/backend.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/unit.h"

#define VOLUME (64u << 20)
#define ROOM   8u
#define BLOCK  4096u

#define HOLE (RDISK_EXTENT_HOLE | RDISK_EXTENT_ZERO)

/* A backend on a reactor, and one request at a time. */
static struct {
    struct reactor *reactor;
    struct backend *backend;
    struct backend_context *context;
    char path[64]; /* of its file */
    struct message message;
    void (*fn)(void);
    sem_t done;
    struct backend_io io;
    int result;
    struct rdisk_error err;
} rig;

static struct rdisk_wire_extent list[ROOM];

static void message_run(struct message *message)
{
    rig.fn();
}

/* Run @fn in the reactor's thread, until it or what it began posts. */
static void on_reactor(void (*fn)(void))
{
    rig.fn = fn;
    rig.message.run = message_run;
    reactor_send(rig.reactor, &rig.message);
    while (sem_wait(&rig.done) < 0) {
        /* interrupted */
    }
}

static void join(void)
{
    rig.context = rig.backend->class->join(rig.backend, rig.reactor, &rig.err);
    sem_post(&rig.done);
}

static void leave(void)
{
    rig.backend->class->leave(rig.context);
    sem_post(&rig.done);
}

static void io_done(struct backend_io *io, int result, void *opaque)
{
    rig.result = result;
    sem_post(&rig.done);
}

static void submit(void)
{
    rig.io.depth = 0;
    rig.io.done = 77; /* what the slot's last request left */
    backend_io_push(&rig.io, io_done, NULL);
    backend_submit(rig.context, &rig.io);
}

static void begin(const struct backend_class *class, const char *folder)
{
    struct backend_spec spec = {
        .volume = "v",
        .directory = AT_FDCWD,
        .size = folder ? 0 : VOLUME,
    };

    memset(&rig, 0, sizeof(rig));
    sem_init(&rig.done, 0, 0);
    log_set_level(QUIET);
    if (folder) {
        int fd;

        snprintf(rig.path, sizeof(rig.path), "%s/rdisk-unit-XXXXXX", folder);
        fd = mkstemp(rig.path);
        REQUIRE(fd >= 0);
        REQUIRE(ftruncate(fd, VOLUME) == 0);
        close(fd);
        spec.path = rig.path;
    }
    rig.reactor = reactor_create(0, -1, 0, &rig.err);
    REQUIRE(rig.reactor != NULL);
    rig.backend = class->open(&spec, &rig.err);
    REQUIRE(rig.backend != NULL);
    on_reactor(join);
    REQUIRE(rig.context != NULL);
}

static void end(void)
{
    on_reactor(leave);
    rig.backend->class->close(rig.backend);
    reactor_destroy(rig.reactor);
    log_set_level(RDISK_LOG_INFO);
    sem_destroy(&rig.done);
    if (rig.path[0]) {
        unlink(rig.path);
    }
}

static int ask(uint64_t offset, uint32_t length, unsigned int room)
{
    memset(list, 0, sizeof(list));
    rig.io = (struct backend_io) {
        .op = RDISK_OP_EXTENTS,
        .offset = offset,
        .length = length,
        .data = list,
        .room = room,
        .buffer = { -1, -1 },
    };
    on_reactor(submit);
    return rig.result;
}

static int copy(uint64_t from, uint64_t to, uint32_t length, unsigned int flags)
{
    rig.io = (struct backend_io) {
        .op = RDISK_OP_COPY,
        .flags = flags,
        .source = from,
        .offset = to,
        .length = length,
        .buffer = { -1, -1 },
    };
    on_reactor(submit);
    return rig.result;
}

/* One byte all over, through the backend. */
static void fill(uint64_t offset, uint32_t length, char byte)
{
    void *data = aligned_alloc(BLOCK, length);

    REQUIRE(data != NULL);
    memset(data, byte, length);
    rig.io = (struct backend_io) {
        .op = RDISK_OP_WRITE,
        .offset = offset,
        .length = length,
        .data = data,
        .buffer = { -1, -1 },
    };
    on_reactor(submit);
    CHECK_EQUAL(rig.result, 0);
    free(data);
}

/* How many bytes are not @byte. */
static unsigned int others(uint64_t offset, uint32_t length, char byte)
{
    char *data = aligned_alloc(BLOCK, length);
    unsigned int wrong = 0;

    REQUIRE(data != NULL);
    memset(data, ~byte, length);
    rig.io = (struct backend_io) {
        .op = RDISK_OP_READ,
        .offset = offset,
        .length = length,
        .data = data,
        .buffer = { -1, -1 },
    };
    on_reactor(submit);
    CHECK_EQUAL(rig.result, 0);
    for (uint32_t i = 0; i < length; i++) {
        wrong += data[i] != byte;
    }
    free(data);
    return wrong;
}

static void check_extent(unsigned int i, uint64_t length, uint32_t flags)
{
    CHECK_EQUAL(le64toh(list[i].length), length);
    CHECK_EQUAL(le32toh(list[i].flags), flags);
}

/* ---- Extents ----------------------------------------------------------- */

static void check_holes(const char *folder)
{
    begin(&backend_file, folder);
    CHECK(rig.backend->geometry.extents);
    CHECK_EQUAL(ask(0, VOLUME, ROOM), 0);
    check_extent(0, VOLUME, HOLE);
    check_extent(1, 0, 0);
    fill(1 << 20, 8192, 'a');
    fill(4 << 20, 65536, 'b');
    CHECK_EQUAL(ask(0, VOLUME, ROOM), 0);
    check_extent(0, 1 << 20, HOLE);
    check_extent(1, 8192, 0);
    check_extent(2, (3 << 20) - 8192, HOLE);
    check_extent(3, 65536, 0);
    check_extent(4, VOLUME - (4 << 20) - 65536, HOLE);
    check_extent(5, 0, 0);
    end();
}

static void tells_holes(void)
{
    check_holes("/var/tmp");
    check_holes("/dev/shm");
}

static void inside_a_range(void)
{
    begin(&backend_file, "/var/tmp");
    fill(1 << 20, 65536, 'a');
    CHECK_EQUAL(ask((1 << 20) + BLOCK, 8192, ROOM), 0);
    check_extent(0, 8192, 0);
    check_extent(1, 0, 0);
    CHECK_EQUAL(ask((1 << 20) - BLOCK, 2 * BLOCK, ROOM), 0);
    check_extent(0, BLOCK, HOLE);
    check_extent(1, BLOCK, 0);
    check_extent(2, 0, 0);
    CHECK_EQUAL(ask(VOLUME - BLOCK, BLOCK, ROOM), 0);
    check_extent(0, BLOCK, HOLE);
    end();
}

static void stops_when_full(void)
{
    begin(&backend_file, "/var/tmp");
    fill(1 << 20, 8192, 'a');
    fill(4 << 20, 8192, 'a');
    CHECK_EQUAL(ask(0, VOLUME, 2), 0);
    check_extent(0, 1 << 20, HOLE);
    check_extent(1, 8192, 0);
    check_extent(2, 0, 0);
    end();
}

/* To read it fails; to call it zeroes would hide that. */
static void truncated(void)
{
    begin(&backend_file, "/var/tmp");
    CHECK_EQUAL(truncate(rig.path, 1 << 20), 0);
    CHECK_EQUAL(ask(0, 1 << 20, ROOM), 0);
    CHECK_EQUAL(ask(0, VOLUME, ROOM), -EIO);
    CHECK_EQUAL(ask(2 << 20, BLOCK, ROOM), -EIO);
    end();
}

static void other_backends(void)
{
    begin(&backend_memory, NULL);
    CHECK_EQUAL(ask(0, VOLUME, ROOM), 0);
    check_extent(0, VOLUME, 0);
    end();
    begin(&backend_null, NULL);
    CHECK_EQUAL(ask(BLOCK, BLOCK, ROOM), 0);
    check_extent(0, BLOCK, HOLE);
    end();
}

/* ---- Copy -------------------------------------------------------------- */

static void check_copy(uint64_t to)
{
    const uint32_t length = (3 << 20) + 512 * 8;

    fill(0, length, 'a');
    fill(to, length + BLOCK, 'z');
    CHECK_EQUAL(copy(0, to, length, RDISK_REQUEST_FUA), 0);
    CHECK_EQUAL(others(to, length, 'a'), 0);
    CHECK_EQUAL(others(to + length, BLOCK, 'z'), 0);
    CHECK_EQUAL(others(0, length, 'a'), 0);
    /* They are two from now on. */
    fill(to, BLOCK, 'b');
    CHECK_EQUAL(others(0, length, 'a'), 0);
}

static void copies(void)
{
    begin(&backend_file, "/var/tmp");
    CHECK(rig.backend->geometry.copy);
    check_copy(16 << 20);
    end();
    begin(&backend_file, "/dev/shm");
    check_copy(16 << 20);
    /* Buffered, it need not be aligned to pages. */
    check_copy((16 << 20) + 512);
    end();
    begin(&backend_memory, NULL);
    check_copy((16 << 20) + 512);
    end();
    begin(&backend_null, NULL);
    CHECK_EQUAL(copy(0, BLOCK, BLOCK, 0), 0);
    end();
}

static void longest_copy(void)
{
    begin(&backend_file, "/var/tmp");
    fill(RDISK_COPY_MAX - BLOCK, BLOCK, 'e');
    CHECK_EQUAL(copy(0, 32 << 20, RDISK_COPY_MAX, 0), 0);
    CHECK_EQUAL(others((32 << 20) + RDISK_COPY_MAX - BLOCK, BLOCK, 'e'), 0);
    end();
}

static void copy_of_what_is_lost(void)
{
    static const char *const folders[] = { "/var/tmp", "/dev/shm" };

    for (unsigned int i = 0; i < 2; i++) {
        begin(&backend_file, folders[i]);
        CHECK_EQUAL(truncate(rig.path, 1 << 20), 0);
        CHECK_EQUAL(copy(2 << 20, 0, 65536, 0), -EIO);
        end();
    }
}

/* ---- Another size ------------------------------------------------------ */

static unsigned int wrong_bytes;

static void read_many_times(void)
{
    static char data[65536];

    for (unsigned int i = 0; i < 3000; i++) {
        rig.io = (struct backend_io) {
            .op = RDISK_OP_READ,
            .offset = 0,
            .length = sizeof(data),
            .data = data,
            .buffer = { -1, -1 },
        };
        submit();
        wrong_bytes += data[i] != 'a' || rig.result != 0;
    }
    sem_post(&rig.done);
}

static void resized_under_requests(void)
{
    begin(&backend_memory, NULL);
    fill(0, 65536, 'a');
    wrong_bytes = 0;
    rig.fn = read_many_times;
    rig.message.run = message_run;
    reactor_send(rig.reactor, &rig.message);
    for (unsigned int i = 1; i <= 200; i++) {
        CHECK_EQUAL(backend_memory.resize(rig.backend,
                                          i % 2 ? VOLUME / 2 : 2 * VOLUME,
                                          &rig.err),
                    0);
    }
    /* Each read posts, and then their loop. */
    for (unsigned int i = 0; i < 3001; i++) {
        while (sem_wait(&rig.done) < 0) {
            /* interrupted */
        }
    }
    CHECK_EQUAL(wrong_bytes, 0);
    /* What came before it was cut off must not go beyond the end. */
    CHECK_EQUAL(backend_memory.resize(rig.backend, BLOCK, &rig.err), 0);
    CHECK_EQUAL(copy(0, 16 << 20, BLOCK, 0), -EIO);
    end();
}

/* A write that was on its way when the file was cut comes after that. */
static void growth_is_zeroes(void)
{
    int fd;

    begin(&backend_file, "/var/tmp");
    CHECK_EQUAL(backend_file.resize(rig.backend, 1 << 20, &rig.err), 0);
    rig.backend->geometry.size = 1 << 20;
    fd = open(rig.path, O_WRONLY);
    CHECK_EQUAL(pwrite(fd, "late", 4, 2 << 20), 4);
    close(fd);
    CHECK_EQUAL(backend_file.resize(rig.backend, 4 << 20, &rig.err), 0);
    CHECK_EQUAL(others(2 << 20, BLOCK, 0), 0);
    end();
}

static void tells_allocated(void)
{
    uint64_t empty, full;

    begin(&backend_file, "/var/tmp");
    CHECK_EQUAL(backend_file.allocated(rig.backend, &empty), 0);
    fill(0, 1 << 20, 'a');
    CHECK_EQUAL(backend_file.allocated(rig.backend, &full), 0);
    CHECK(full >= empty + (1 << 20) && full < VOLUME);
    end();
    begin(&backend_null, NULL);
    CHECK_EQUAL(backend_null.allocated(rig.backend, &empty), 0);
    CHECK_EQUAL(empty, 0);
    end();
}

/* ---- The thread -------------------------------------------------------- */

static struct job {
    struct offload_job job;
    unsigned int left;
    unsigned int order[2]; /* when it began, when it ended */
} jobs[3];
static unsigned int clock_now, jobs_left;
static struct offload_lane lane;

static atomic_bool all_given;

static bool turn(struct offload_job *base)
{
    struct job *job = (struct job *)base;

    if (!atomic_load(&all_given)) {
        return true; /* the short ones may still be on their way */
    }
    if (!job->order[0]) {
        job->order[0] = ++clock_now;
    }
    /* The long one is done when the others are, or when it is hopeless. */
    if (job->left && --job->left && !(jobs[1].order[1] && jobs[2].order[1])) {
        return true;
    }
    job->order[1] = ++clock_now;
    return false;
}

static void turned(struct offload_job *base)
{
    if (--jobs_left == 0) {
        sem_post(&rig.done);
    }
}

static void submit_jobs(void)
{
    clock_now = 0;
    jobs_left = 3;
    atomic_store(&all_given, false);
    for (unsigned int i = 0; i < 3; i++) {
        jobs[i] = (struct job) {
            .job = { .run = turn, .done = turned },
            .left = i == 0 ? 1u << 30 : 1,
        };
    }
    for (unsigned int i = 0; i < 3; i++) {
        reactor_offload(rig.reactor, &lane, &jobs[i].job);
    }
    atomic_store(&all_given, true);
}

static void jobs_take_turns(void)
{
    begin(&backend_null, NULL);
    on_reactor(submit_jobs);
    CHECK(jobs[1].order[1] < jobs[0].order[1]);
    CHECK(jobs[2].order[1] < jobs[0].order[1]);
    CHECK(jobs[1].order[0] < jobs[2].order[0]);
    end();
}

static const struct unit_test tests[] = {
    { "a file reports its holes, in whole blocks", tells_holes },
    { "extents stay inside the range", inside_a_range },
    { "extents stop when the list is full", stops_when_full },
    { "what a file has lost is no hole", truncated },
    { "memory is data, null is zeroes", other_backends },
    { "a copy is one, and apart from its source", copies },
    { "a copy may be as long as the protocol lets it", longest_copy },
    { "a copy of what a file has lost fails", copy_of_what_is_lost },
    { "memory is resized under its requests", resized_under_requests },
    { "what a file grows by is zeroes, whatever was there", growth_is_zeroes },
    { "a file reports what it takes up, null takes nothing", tells_allocated },
    { "a long job does not hold up short ones", jobs_take_turns },
};

UNIT_SUITE("server-offload", tests)
