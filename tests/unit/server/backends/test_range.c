/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests that overlap take turns, so that no block is torn. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "server/backends/file.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

/* ---- The lock --------------------------------------------------------- */

static struct range reads(uint64_t begin, uint64_t end)
{
    return (struct range) { .begin = begin, .end = end };
}

static struct range writes(uint64_t begin, uint64_t end)
{
    return (struct range) { .begin = begin, .end = end, .writes = true };
}

static struct range copies(uint64_t from, uint64_t to, uint64_t length)
{
    return (struct range) {
        .begin = to,
        .end = to + length,
        .writes = true,
        .source = from,
        .source_end = from + length,
    };
}

/* Check that @second waits for @first, and is held when @first is released. */
static bool waits(struct range first, struct range second)
{
    struct range_lock lock;
    struct range *granted;
    bool held;

    range_lock_init(&lock);
    CHECK(range_lock_acquire(&lock, &first));
    held = range_lock_acquire(&lock, &second);
    granted = range_lock_release(&lock, &first);
    CHECK(held ? !granted : granted == &second && !second.granted);
    CHECK(!range_lock_release(&lock, &second));
    range_lock_destroy(&lock);
    return !held;
}

static void test_who_waits(void)
{
    CHECK(!waits(reads(0, 8), reads(0, 8)));
    CHECK(waits(reads(0, 8), writes(7, 9)));
    CHECK(waits(writes(7, 9), reads(0, 8)));
    CHECK(waits(writes(0, 8), writes(0, 8)));
    CHECK(!waits(writes(0, 8), writes(8, 16)));
    CHECK(!waits(writes(8, 16), reads(0, 8)));
    CHECK(waits(copies(0, 100, 8), writes(4, 5)));
    CHECK(waits(writes(4, 5), copies(0, 100, 8)));
    CHECK(waits(copies(0, 100, 8), reads(104, 105)));
    CHECK(!waits(copies(0, 100, 8), reads(4, 5)));
    CHECK(!waits(copies(0, 100, 8), copies(0, 200, 8)));
    CHECK(waits(copies(0, 100, 8), copies(100, 200, 8)));
    CHECK(!waits(reads(0, 8), writes(50, 51)));
}

/* A writer behind readers would wait without end if others came in. */
static void test_none_overtakes(void)
{
    struct range first = reads(0, 8), writer = writes(0, 4);
    struct range late = reads(0, 8), apart = reads(4, 8);
    struct range_lock lock;

    range_lock_init(&lock);
    CHECK(range_lock_acquire(&lock, &first));
    CHECK(!range_lock_acquire(&lock, &writer));
    CHECK(!range_lock_acquire(&lock, &late));
    CHECK(range_lock_acquire(&lock, &apart));
    CHECK(range_lock_release(&lock, &first) == &writer);
    CHECK(!writer.granted);
    CHECK(!range_lock_release(&lock, &apart));
    CHECK(range_lock_release(&lock, &writer) == &late);
    CHECK(!range_lock_release(&lock, &late));
    range_lock_destroy(&lock);
}

static void test_all_that_can(void)
{
    struct range writer = writes(0, 100), range[3];
    struct range_lock lock;

    range_lock_init(&lock);
    CHECK(range_lock_acquire(&lock, &writer));
    range[0] = reads(0, 10);
    range[1] = writes(20, 30);
    range[2] = writes(5, 25);
    for (unsigned int i = 0; i < 3; i++) {
        CHECK(!range_lock_acquire(&lock, &range[i]));
    }
    CHECK(range_lock_release(&lock, &writer) == &range[0]);
    CHECK(range[0].granted == &range[1] && !range[1].granted);
    CHECK(!range_lock_release(&lock, &range[0]));
    CHECK(range_lock_release(&lock, &range[1]) == &range[2]);
    CHECK(!range_lock_release(&lock, &range[2]));
    range_lock_destroy(&lock);
}

/* ---- Blocks ----------------------------------------------------------- */

#define AT_ONCE 8u
#define ROUNDS  300u
#define LENGTH  65536u
#define BLOCK   512u

struct side {
    struct rig *rig;
    enum rdisk_op op;
    unsigned int torn;
};

static unsigned int torn_blocks(const char *data)
{
    unsigned int torn = 0;

    for (unsigned int i = 0; i < LENGTH; i += BLOCK) {
        torn += memcmp(data + i, data + i + 1, BLOCK - 1) != 0;
    }
    return torn;
}

/* The same blocks again and again: written with one letter all over, then with
 * another. */
static void *run(void *opaque)
{
    struct side *side = opaque;
    struct backend_io io[AT_ONCE];

    for (unsigned int i = 0; i < AT_ONCE; i++) {
        io[i] = (struct backend_io) {
            .op = side->op,
            .length = LENGTH,
            .data = side->rig->memory + i * LENGTH,
            .buffer = RIG_BUFFER(side->rig),
        };
        memset(io[i].data, i % 2 ? 'a' : 'b', LENGTH);
    }
    for (unsigned int round = 0; round < ROUNDS; round++) {
        CHECK_EQUAL(rig_submit(side->rig, io, AT_ONCE), 0);
        for (unsigned int i = 0; i < AT_ONCE; i++) {
            side->torn += torn_blocks(io[i].data);
        }
    }
    return NULL;
}

static void check_whole(struct rig *one)
{
    struct rig other;
    struct side writer = { one, RDISK_OP_WRITE, 0 };
    struct side reader = { &other, RDISK_OP_READ, 0 };
    pthread_t thread;

    rig_join(&other, one->backend);
    CHECK_EQUAL(rig_io(one, RDISK_OP_WRITE, 0, 0, LENGTH), 0);
    REQUIRE(pthread_create(&thread, NULL, run, &writer) == 0);
    run(&reader);
    pthread_join(thread, NULL);
    CHECK_EQUAL(reader.torn, 0);
    rig_leave(&other);
    rig_close(one);
}

static void do_begin(struct rig_job *job)
{
    backend_io_push(job->io, rig_io_done, job);
    job->left = job->count = 1;
    backend_submit(job->rig->context, job->io);
    /* It is in flight, or waits. */
    sem_post(&job->done);
}

/* As if another reactor were in the middle of a write. */
static void check_waits(struct rig *rig)
{
    struct range write = writes(BLOCK, 2 * BLOCK);
    struct backend_io io = {
        .op = RDISK_OP_READ,
        .length = 4096,
        .data = rig->memory,
        .buffer = RIG_BUFFER(rig),
    };
    struct rig_job job = { .io = &io };
    struct file *file = file_of(rig->backend);

    CHECK(range_lock_acquire(&file->ranges, &write));
    rig_do(rig, &job, do_begin);
    CHECK_EQUAL(rig_io(rig, RDISK_OP_READ, 0, 4096, 4096), 0);
    CHECK(file->ranges.waiting.first == &io.range);
    CHECK_EQUAL(job.left, 1);
    sem_init(&job.done, 0, 0);
    file_turn_over(file, &write);
    while (sem_wait(&job.done) < 0) {
        /* interrupted */
    }
    CHECK_EQUAL(job.left, 0);
    CHECK_EQUAL(job.result, 0);
    sem_destroy(&job.done);
    rig_close(rig);
}

static void test_requests_wait(void)
{
    struct rig rig;

    rig_open_file(&rig, "/dev/shm", false);
    check_waits(&rig);
    rig_open_buffered(&rig, "/var/tmp");
    check_waits(&rig);
}

static void test_whole_in_memory(void)
{
    struct backend_spec spec = { .volume = "m", .size = RIG_VOLUME };
    struct rig rig;

    rig_open_file(&rig, "/dev/shm", false);
    CHECK(rig.backend->inline_io);
    check_whole(&rig);
    memset(&rig, 0, sizeof(rig));
    rig_open(&rig, &backend_memory, &spec);
    check_whole(&rig);
}

static void test_whole_in_the_page_cache(void)
{
    struct rig rig;

    rig_open_buffered(&rig, "/var/tmp");
    check_whole(&rig);
}

static void test_disks_are_left_alone(void)
{
    struct rig rig;

    rig_open_file(&rig, "/var/tmp", false);
    CHECK(file_of(rig.backend)->direct);
    CHECK(!file_of(rig.backend)->takes_turns);
    rig_close(&rig);
}

/* ---- Parts of blocks -------------------------------------------------- */

/* As on a disk of such blocks. */
static void open_of_blocks(struct rig *rig)
{
    rig_open_file(rig, "/var/tmp", false);
    rig->backend->geometry.block_size = 4096;
    file_of(rig->backend)->takes_turns = true;
}

static void test_parts_of_blocks(void)
{
    unsigned int wrong = 0;
    struct rig rig;

    open_of_blocks(&rig);
    memset(rig.memory, 'a', 16384);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 16384), 0);
    memset(rig.memory, 'b', 8192);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, RDISK_REQUEST_FUA, 3584, 5120), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 12288, 512), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 512, 15872), 0);
    for (unsigned int i = 512; i < 16384; i++) {
        bool part = (i >= 3584 && i < 8704) || (i >= 12288 && i < 12800);

        wrong += rig.memory[i - 512] != (part ? 'b' : 'a');
    }
    CHECK_EQUAL(wrong, 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_ZEROES, 0, 512, 512), -ENOTSUP);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_DISCARD, 0, 512, 512), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_DISCARD, 0, 3584, 5120), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 16384), 0);
    /* Of what was discarded, only whole blocks are gone. */
    CHECK_EQUAL(rig.memory[512], 'a');
    CHECK_EQUAL(rig.memory[3584], 'b');
    CHECK_EQUAL(rig.memory[8703], 'b');
    rig_close(&rig);
}

/* Each writes one sector of a block, and must find it when it reads. */
static void *own_sector(void *opaque)
{
    struct side *side = opaque;
    struct rig *rig = side->rig;
    uint64_t offset = side->op == RDISK_OP_WRITE ? 512 : 0;

    for (unsigned int round = 0; round < ROUNDS; round++) {
        memset(rig->memory, (char)round, 512);
        CHECK_EQUAL(rig_io(rig, RDISK_OP_WRITE, 0, offset, 512), 0);
        memset(rig->memory, ~(char)round, 512);
        CHECK_EQUAL(rig_io(rig, RDISK_OP_READ, 0, offset, 512), 0);
        side->torn += rig->memory[0] != (char)round;
    }
    return NULL;
}

static void test_no_sector_is_lost(void)
{
    struct rig one, other;
    struct side writer = { &one, RDISK_OP_WRITE, 0 };
    struct side reader = { &other, RDISK_OP_READ, 0 };
    pthread_t thread;

    open_of_blocks(&one);
    rig_join(&other, one.backend);
    REQUIRE(pthread_create(&thread, NULL, own_sector, &writer) == 0);
    own_sector(&reader);
    pthread_join(thread, NULL);
    CHECK_EQUAL(writer.torn + reader.torn, 0);
    rig_leave(&other);
    rig_close(&one);
}

static const struct unit_test tests[] = {
    { "ranges that overlap wait if one of them writes", test_who_waits },
    { "no request overtakes a range that waits", test_none_overtakes },
    { "a release lets in all that can come in", test_all_that_can },
    { "a read waits for a write that overlaps", test_requests_wait },
    { "no block is torn between two reactors in memory", test_whole_in_memory },
    { "no block is torn between two reactors in the page cache",
      test_whole_in_the_page_cache },
    { "requests that a disk takes as they are take no turns",
      test_disks_are_left_alone },
    { "parts of blocks are read and written", test_parts_of_blocks },
    { "two writers of one block lose no sector", test_no_sector_is_lost },
};

UNIT_SUITE("server-range", tests)
