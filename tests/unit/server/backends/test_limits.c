/* SPDX-License-Identifier: BSD-3-Clause */
/* What one volume may keep of what it shares with the others of its reactor. */
#include <errno.h>
#include <semaphore.h>

#include "server/backends/file.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

/* ---- Requests and workers --------------------------------------------- */

#define MANY 600u

static struct backend_io ios[MANY];

static void many_begin(struct rig *rig)
{
    for (unsigned int i = 0; i < MANY; i++) {
        ios[i] = (struct backend_io) {
            .op = RDISK_OP_READ,
            .offset = i * 4096,
            .length = 4096,
            .data = rig->memory + i % 200 * 4096,
            .buffer = RIG_BUFFER(rig),
        };
    }
}

static void do_many(struct rig_job *job)
{
    struct file_context *context = container_of(job->rig->context,
                                                struct file_context, base);

    job->left = MANY;
    for (unsigned int i = 0; i < MANY; i++) {
        backend_io_push(&ios[i], rig_io_done, job);
        backend_submit(&context->base, &ios[i]);
    }
    /* None of them has ended: the turn has not. */
    job->count = context->requests;
}

static void test_requests(void)
{
    struct rig rig;
    struct rig_job job = { 0 };

    rig_open_file(&rig, "/var/tmp", false);
    many_begin(&rig);
    rig_do(&rig, &job, do_many);
    CHECK_EQUAL(job.count, FILE_REQUESTS);
    CHECK_EQUAL(job.result, 0);
    CHECK_EQUAL(job.left, 0);
    CHECK_EQUAL(rig.succeeded, MANY);
    rig_close(&rig);
}

/* Requests that end at once come in one after the other, not one inside the
 * other. */
static void test_inline_behind_others(void)
{
    struct rig rig;

    rig_open_file(&rig, "/dev/shm", false);
    many_begin(&rig);
    /* These are the ring's. */
    for (unsigned int i = 0; i < FILE_REQUESTS; i++) {
        ios[i].op = RDISK_OP_DISCARD;
    }
    CHECK_EQUAL(rig_submit(&rig, ios, MANY), 0);
    CHECK_EQUAL(rig.succeeded, MANY);
    rig_close(&rig);
}

static unsigned int workers(const struct rig *rig)
{
    struct reactor_info info;

    reactor_info(rig->reactor, &info);
    return info.workers;
}

static void do_join_again(struct rig_job *job)
{
    struct backend *backend = job->rig->backend;
    struct backend_context *context = backend->class->join(backend,
                                                           job->rig->reactor,
                                                           &job->rig->err);

    job->count = workers(job->rig);
    if (context) {
        backend->class->leave(context);
    }
    sem_post(&job->done);
}

static void test_workers(void)
{
    struct rig rig;
    struct rig_job job = { 0 };
    unsigned int one;

    rig_open_file(&rig, "/var/tmp", false);
    one = workers(&rig);
    CHECK(one > FILE_REQUESTS);
    rig_do(&rig, &job, do_join_again);
    CHECK_EQUAL(job.count, one + FILE_REQUESTS);
    CHECK_EQUAL(workers(&rig), one);
    rig_close(&rig);
}

/* ---- Threads ---------------------------------------------------------- */

static struct offload_lane hung_lane, lanes[2];
static struct offload_job hung_job, jobs[2];
static sem_t answer;

static bool hangs(struct offload_job *job)
{
    while (sem_wait(&answer) < 0) {
        /* interrupted */
    }
    return false;
}

static bool runs(struct offload_job *job)
{
    return false;
}

static struct rig_job *waiting;

static void ended(struct offload_job *job)
{
    if (--waiting->left == 0) {
        sem_post(&waiting->done);
    }
}

/* As on a volume whose storage does not answer, then on two others. */
static void do_lanes(struct rig_job *job)
{
    waiting = job;
    job->left = 2;
    hung_job = (struct offload_job) { .run = hangs, .done = ended };
    reactor_offload(job->rig->reactor, &hung_lane, &hung_job);
    for (unsigned int i = 0; i < 2; i++) {
        jobs[i] = (struct offload_job) { .run = runs, .done = ended };
        reactor_offload(job->rig->reactor, &lanes[i], &jobs[i]);
    }
}

static void do_answer(struct rig_job *job)
{
    waiting = job;
    job->left = 1;
    sem_post(&answer);
}

static void test_threads(void)
{
    struct backend_spec spec = { .volume = "n", .size = RIG_VOLUME };
    struct rig rig = { 0 };
    struct rig_job job = { 0 };

    sem_init(&answer, 0, 0);
    rig_open(&rig, &backend_null, &spec);
    rig_do(&rig, &job, do_lanes);
    CHECK_EQUAL(job.left, 0);
    CHECK(hung_lane.busy);
    rig_do(&rig, &job, do_answer);
    CHECK(!hung_lane.busy);
    rig_close(&rig);
    sem_destroy(&answer);
}

/* ---- Memory ----------------------------------------------------------- */

#define LONG (64u << 20)

/* The reactor is free again when the long one has only begun. */
static void do_long(struct rig_job *job)
{
    job->left = 2;
    for (unsigned int i = 0; i < 2; i++) {
        backend_io_push(&ios[i], rig_io_done, job);
        backend_submit(job->rig->context, &ios[i]);
    }
    /* The short one has ended. */
    job->count = job->left;
}

static void check_long(struct rig *rig, enum rdisk_op op, uint32_t length)
{
    struct rig_job job = { 0 };

    ios[0] = (struct backend_io) {
        .op = op,
        .offset = LONG,
        .length = length,
        .buffer = { -1, -1 },
    };
    ios[1] = (struct backend_io) {
        .op = RDISK_OP_READ,
        .length = 4096,
        .data = rig->memory,
        .buffer = { -1, -1 },
    };
    rig_do(rig, &job, do_long);
    CHECK_EQUAL(job.count, 1);
    CHECK_EQUAL(job.result, 0);
    CHECK_EQUAL(ios[0].done, length);
}

static void test_long_in_memory(void)
{
    struct backend_spec spec = { .volume = "m", .size = 2 * LONG };
    struct rig rig = { 0 };

    rig_open(&rig, &backend_memory, &spec);
    memset(rig.memory, 'x', 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 2 * LONG - 4096, 4096), 0);
    check_long(&rig, RDISK_OP_ZEROES, LONG);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 2 * LONG - 4096, 4096), 0);
    CHECK_EQUAL(rig.memory[4095], 0);
    check_long(&rig, RDISK_OP_DISCARD, LONG);
    check_long(&rig, RDISK_OP_COPY, RDISK_COPY_MAX);
    rig_close(&rig);
}

/* ---- Time -------------------------------------------------------------- */

/* Three pieces of a file that may take so long. */
static void range_begin(struct rig *rig, uint64_t time)
{
    struct rdisk_error err;

    rig_open_file(rig, "/var/tmp", false);
    REQUIRE(rig->backend->class->resize(rig->backend, 48 << 20, &err) == 0);
    rig->backend->geometry.size = 48 << 20;
    file_of(rig->backend)->range_time = time;
    for (unsigned int i = 0; i < 3; i++) {
        CHECK_EQUAL(rig_io(rig, RDISK_OP_WRITE, 0, i * (16u << 20), 1 << 20),
                    0);
    }
}

static uint64_t allocated(struct rig *rig)
{
    uint64_t bytes = 0;

    CHECK_EQUAL(rig->backend->class->allocated(rig->backend, &bytes), 0);
    return bytes;
}

static void test_range_in_time(void)
{
    struct rig rig;

    range_begin(&rig, UINT64_MAX);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_ZEROES, RDISK_REQUEST_UNMAP, 0, 48 << 20),
                0);
    CHECK_EQUAL(allocated(&rig), 0);
    rig_close(&rig);
}

static void test_discard_has_limit(void)
{
    struct rig rig;

    range_begin(&rig, 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_DISCARD, 0, 0, 48 << 20), 0);
    CHECK_EQUAL(allocated(&rig), 2 << 20);
    rig_close(&rig);
}

static void test_zeroes_have_limit(void)
{
    struct rig rig;

    range_begin(&rig, 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_ZEROES, RDISK_REQUEST_UNMAP, 0, 48 << 20),
                -ENOTSUP);
    CHECK_EQUAL(allocated(&rig), 2 << 20);
    /* One piece is always done. */
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_ZEROES, RDISK_REQUEST_UNMAP, 16 << 20,
                       16 << 20),
                0);
    rig_close(&rig);
}

static const struct unit_test tests[] = {
    { "zeroes of any length are written while they are in time",
      test_range_in_time },
    { "a discard that takes too long ends early", test_discard_has_limit },
    { "zeroes that take too long are left to the client",
      test_zeroes_have_limit },
    { "a volume has so many requests in flight, and the rest waits",
      test_requests },
    { "requests that end at once do not pile up behind others",
      test_inline_behind_others },
    { "each volume brings the workers that it may keep", test_workers },
    { "a volume that hangs keeps no thread from the others", test_threads },
    { "a long request to memory does not keep the reactor",
      test_long_in_memory },
};

UNIT_SUITE("server-limits", tests)
