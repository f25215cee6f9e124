/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots of a volume that is written meanwhile, at two reactors. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/session/attachment.h"
#include "server/session/barrier.h"
#include "server/session/queue.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/pool_server.h"
#include "tests/unit/support/unit.h"

#define SIZE    (1u << 20)
#define BLOCK   4096u
#define WORKERS 2

static struct rdisk_error err;

/* ---- The writer ---------------------------------------------------------- */

/*
 * A chain of writes: each is submitted when the one before it is answered, at
 * the other reactor. So the data of one moment is the chain up to some write,
 * and nothing of what follows it.
 */
static struct worker workers[WORKERS];
static struct attachment *attachments[WORKERS];
static struct backend *written;
static struct backend_io io;
static struct message next[WORKERS], attaching[WORKERS], detaching[WORKERS];
static char *block;
static atomic_uint writes, failed, attached;
static atomic_bool stop, stopped;

static void attach_run(struct message *message)
{
    unsigned int i = message - attaching;

    attachments[i] = attachment_get(&workers[i], written);
    attached++;
}

static void detach_run(struct message *message)
{
    unsigned int i = message - detaching;

    attachment_put(&workers[i], attachments[i]);
    attached--;
}

static void written_one(struct backend_io *one, int result, void *opaque)
{
    failed += result < 0;
    attachment_completed(opaque);
    if (stop || (writes + 1) * BLOCK == SIZE) {
        stopped = true;
        return;
    }
    writes++;
    reactor_send(workers[writes % WORKERS].reactor, &next[writes % WORKERS]);
}

static void write_run(struct message *message)
{
    unsigned int i = message - next, n = writes;

    memset(block, 0, BLOCK);
    snprintf(block, BLOCK, "write %u", n);
    io = (struct backend_io) {
        .op = RDISK_OP_WRITE,
        .offset = n * BLOCK,
        .length = BLOCK,
        .data = block,
        .buffer = { -1, -1 },
    };
    backend_io_push(&io, written_one, attachments[i]);
    attachment_submit(attachments[i], &io);
}

static void begin_writing(struct backend *backend)
{
    written = backend;
    writes = failed = attached = 0;
    stop = stopped = false;
    REQUIRE(posix_memalign((void **)&block, BLOCK, BLOCK) == 0);
    memset(workers, 0, sizeof(workers));
    for (unsigned int i = 0; i < WORKERS; i++) {
        workers[i].reactor = reactor_create(i, -1, 0, &err);
        REQUIRE(workers[i].reactor != NULL);
        next[i].run = write_run;
        attaching[i].run = attach_run;
        detaching[i].run = detach_run;
        reactor_send(workers[i].reactor, &attaching[i]);
    }
    pool_server.workers = workers;
    pool_server.placement.cores = WORKERS;
    while (attached < WORKERS) {
        usleep(1000);
    }
    reactor_send(workers[0].reactor, &next[0]);
}

static void end_writing(void)
{
    stop = true;
    while (!stopped) {
        usleep(1000);
    }
    for (unsigned int i = 0; i < WORKERS; i++) {
        reactor_send(workers[i].reactor, &detaching[i]);
    }
    while (attached) {
        usleep(1000);
    }
    for (unsigned int i = 0; i < WORKERS; i++) {
        reactor_destroy(workers[i].reactor);
    }
    pool_server.placement.cores = 0;
    CHECK_EQUAL(failed, 0);
    free(block);
}

/* Blocks of the chain at the beginning of @name; there are no others. */
static unsigned int chain(const char *name)
{
    int fd = openat(pool_server.pool.directory, name, O_RDONLY);
    unsigned int count = 0;
    bool over = false;
    char text[32], expected[32];

    REQUIRE(fd >= 0);
    for (unsigned int i = 0; i < SIZE / BLOCK; i++) {
        CHECK_EQUAL(pread(fd, text, sizeof(text), i * BLOCK), sizeof(text));
        snprintf(expected, sizeof(expected), "write %u", i);
        if (strcmp(text, expected) == 0) {
            CHECK(!over);
            count++;
        } else {
            CHECK_EQUAL(text[0], 0);
            over = true;
        }
    }
    close(fd);
    return count;
}

/* ---- Tests --------------------------------------------------------------- */

static void test_one_moment(void)
{
    struct volume *volume;
    unsigned int before = 0, now, after, total = 0;
    uint64_t pause;

    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    volume = pool_get(&pool_server.pool, "v", &err);
    REQUIRE(volume != NULL);
    begin_writing(volume->backend);
    for (unsigned int i = 0; i < 10; i++) {
        char name[16];

        snprintf(name, sizeof(name), "v@%u", i);
        before = writes;
        CHECK_EQUAL(pool_server_snapshot("v", name, &pause, &err), 0);
        after = writes;
        now = chain(name);
        /* All that was answered before is there, nothing of what came later. */
        CHECK(now >= before && now <= after + 1);
        total += now;
        CHECK(volume->longest_pause >= pause);
        usleep(5000);
    }
    end_writing();
    CHECK(total > 0);
    pool_put(&pool_server.pool, volume);
    pool_server_end();
}

static struct backend_class slow;

static int share_slowly(struct backend *backend, int fd,
                        struct rdisk_error *why)
{
    usleep(1000);
    pool_server.barriers->deadline = 0; /* it has taken too long */
    barriers_check_time(&pool_server, rdisk_now(&rdisk_env_system));
    while (pool_server.barriers) {
        pool_server_turn(20);
    }
    return backend_file.share(backend, fd, why);
}

static void test_too_slow(void)
{
    struct volume *volume;
    unsigned int before;

    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    volume = pool_get(&pool_server.pool, "v", &err);
    REQUIRE(volume != NULL);
    slow = *volume->backend->class;
    slow.share = share_slowly;
    volume->backend->class = &slow;
    begin_writing(volume->backend);
    before = writes;
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), -ETIMEDOUT);
    CHECK_SAYS(err.text, "there is no 'v@s'");
    CHECK(!pool_has_file("v@s"));
    CHECK(pool_has_no_new_file());
    for (unsigned int i = 0; i < 1000 && writes == before && !stopped; i++) {
        usleep(1000);
    }
    CHECK(writes > before || stopped);
    end_writing();
    volume->backend->class = &backend_file;
    pool_put(&pool_server.pool, volume);
    pool_server_end();
}

static const struct unit_test tests[] = {
    { "a snapshot of a volume in use has the data of one moment",
      test_one_moment },
    { "a snapshot that takes too long is abandoned, and the volume's requests "
      "go on",
      test_too_slow },
};
UNIT_SUITE("server-snapshot-in-use", tests)
