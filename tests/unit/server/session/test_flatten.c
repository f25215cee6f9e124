/* SPDX-License-Identifier: BSD-3-Clause */
/* Clones get what they share with other volumes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/container_of.h"
#include "server/session/flatten.h"
#include "server/session/usage.h"
#include "tests/unit/support/flatten_asker.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/pool_server.h"
#include "tests/unit/support/unit.h"

#define SIZE (1u << 20)

static struct rdisk_error err;

/* ---- Storage whose clones share data ------------------------------------ */

static struct backend_class sharing;
static bool shares;          /* the volume does */
static unsigned int parts;   /* that have been copied */
static unsigned int unlocks; /* of the volume */
static int fails_with;
/* In the middle of a copy, in the control thread. */
static void (*meanwhile)(void);

static int parent(struct backend *backend, char *text, size_t size)
{
    snprintf(text, size, "%s", shares ? "base@gold" : "");
    return 0;
}

static int copy_parts(struct backend *backend,
                      bool (*progress)(void *opaque, uint64_t done,
                                       uint64_t total),
                      void *opaque, struct rdisk_error *why)
{
    if (fails_with) {
        return rdisk_error_set(why, fails_with, "the cluster says no");
    }
    for (parts = 0; parts < 4; parts++) {
        if (!progress(opaque, parts, 4)) {
            return -ECANCELED;
        }
        if (parts == 2 && meanwhile) {
            meanwhile();
        }
    }
    progress(opaque, 4, 4);
    shares = false;
    return 0;
}

static int take_lock(struct backend *backend, bool force,
                     struct rdisk_error *why)
{
    return 0;
}

static void release_lock(struct backend *backend)
{
    unlocks++;
}

static struct volume *volume;

static void begin(bool a_clone)
{
    pool_server_begin(SIZE);
    volume = pool_get(&pool_server.pool, "v", &err);
    REQUIRE(volume != NULL);
    sharing = *volume->backend->class;
    sharing.parent = parent;
    sharing.flatten = copy_parts;
    sharing.lock = take_lock;
    sharing.unlock = release_lock;
    volume->backend->class = &sharing;
    shares = a_clone;
    meanwhile = NULL;
    fails_with = 0;
    parts = unlocks = 0;
}

static void end(void)
{
    CHECK_EQUAL(volume->flattens, 0);
    flattens_check_time(&pool_server, RDISK_NEVER - 1);
    CHECK(pool_server.flattens == NULL);
    volume->backend->class = &backend_file;
    pool_put(&pool_server.pool, volume);
    pool_server_end();
}

/* ---- Who asks ----------------------------------------------------------- */

static struct flatten_asker ask(const char *name)
{
    struct flatten_asker asker = flatten_ask_times(&pool_server, name, 1);

    err = asker.why;
    return asker;
}

/* ---- Tests -------------------------------------------------------------- */

static void clone_is_flattened(void)
{
    struct flatten_asker asker;

    begin(true);
    asker = ask("v");
    CHECK_EQUAL(asker.result, 0);
    CHECK_EQUAL(asker.size, SIZE);
    CHECK_EQUAL(asker.done, 0);
    CHECK(!asker.ended);
    CHECK_EQUAL(parts, 4);
    asker = ask("v");
    CHECK_EQUAL(asker.done, SIZE);
    CHECK(asker.ended);
    /* That was the answer: the next question is a new one. */
    flattens_check_time(&pool_server, rdisk_now(&rdisk_env_system));
    CHECK(pool_server.flattens == NULL);
    asker = ask("v");
    CHECK_EQUAL(asker.result, 0);
    CHECK_EQUAL(asker.size, 0);
    CHECK(asker.ended);
    end();
}

static void other_volume_is_done(void)
{
    struct flatten_asker asker;

    begin(true);
    volume->backend->class = &backend_file;
    asker = ask("v");
    CHECK_EQUAL(asker.result, 0);
    CHECK_EQUAL(asker.size, 0);
    CHECK(asker.ended);
    end();
}

static void one_that_is_missing(void)
{
    begin(true);
    CHECK_EQUAL(ask("w").result, -ENOENT);
    CHECK_SAYS(err.text, "there is no volume 'w'");
    end();
}

/* Its lock is kept, it is not deleted, and who asks is told how far it is. */
static void while_it_runs(void)
{
    struct volume_holder holder = { .epoch = 1, .peer = "peer" };
    struct volume_holder *older;
    struct flatten_asker asker = ask("v");

    CHECK_EQUAL(asker.result, 0);
    CHECK_EQUAL(asker.done, SIZE / 2);
    CHECK(!asker.ended);
    CHECK_EQUAL(pool_delete(&pool_server.pool, "v", &err), -EBUSY);
    CHECK_SAYS(err.text, "it is being flattened");
    CHECK_EQUAL(pool_resize(&pool_server.pool, "v", 2 * SIZE, false, &err), 0);
    CHECK_EQUAL(unlocks, 0);
    CHECK_EQUAL(volume_check(volume, &holder, 0, &older, &err),
                RDISK_STATUS_OK);
}

static void others_go_on(void)
{
    begin(true);
    meanwhile = while_it_runs;
    ask("v");
    CHECK_EQUAL(parts, 4);
    CHECK_EQUAL(unlocks, 1);
    CHECK(ask("v").ended);
    end();
}

static void nobody_asks(void)
{
    flattens_check_time(&pool_server,
                        rdisk_now(&rdisk_env_system) +
                            (FLATTEN_ABANDONED_MS + 1000) * RDISK_MSEC);
}

static void abandoned_one_is_cancelled(void)
{
    begin(true);
    meanwhile = nobody_asks;
    ask("v");
    CHECK_EQUAL(parts, 3);
    CHECK(shares);
    CHECK_EQUAL(ask("v").result, -ECANCELED);
    CHECK_SAYS(err.text, "was cancelled: it still needs another one");
    end();
}

static void failure_is_reported(void)
{
    begin(true);
    fails_with = -EIO;
    ask("v");
    CHECK_EQUAL(ask("v").result, -EIO);
    CHECK_SAYS(err.text, "the cluster says no");
    end();
}

/* Each question about one that has ended with its answer begins another. */
static void nothing_is_remembered(void)
{
    begin(true);
    CHECK_EQUAL(ask("w").result, -ENOENT);
    flattens_check_time(&pool_server, rdisk_now(&rdisk_env_system));
    CHECK(pool_server.flattens == NULL);
    end();
}

static void four_at_a_time(void)
{
    static struct flatten running[FLATTENS_MAX];

    begin(true);
    for (unsigned int i = 0; i < FLATTENS_MAX; i++) {
        running[i].next = i ? &running[i - 1] : NULL;
        snprintf(running[i].work.operation.volume, 8, "v%u", i);
    }
    pool_server.flattens = &running[FLATTENS_MAX - 1];
    CHECK_EQUAL(ask("v").result, -EBUSY);
    CHECK_SAYS(err.text, "4 volumes are being flattened");
    pool_server.flattens = NULL;
    end();
}

/* It is not carried out, and nobody waits for it any more. */
static void storage_hangs(void)
{
    struct flatten_asker asker = { .wait.answer = flatten_asker_answered };
    struct flatten_asker gone = { .wait.answer = flatten_asker_answered };

    begin(true);
    pool_server_start_jobs();
    pool_config.storage_timeout = 50;
    pool_server_hang();
    flatten_ask(&pool_server, "v", &asker.wait);
    flatten_ask(&pool_server, "v", &gone.wait);
    flatten_forget(&pool_server, &gone.wait);
    CHECK_EQUAL(asker.answers, 0);
    operations_check_time(&pool_server.operations,
                          rdisk_now(&rdisk_env_system) + 60 * RDISK_MSEC);
    CHECK_EQUAL(asker.answers, 1);
    CHECK_EQUAL(gone.answers, 0);
    CHECK_EQUAL(asker.result, -ETIMEDOUT);
    CHECK_SAYS(asker.why.text, "is not being flattened after storage-timeout");
    flatten_ask(&pool_server, "v", &gone.wait);
    CHECK_EQUAL(gone.answers, 1);
    CHECK_EQUAL(gone.result, -ETIMEDOUT);
    pool_server_release();
    pool_server_settle();
    end();
}

/* ---- What a volume takes up --------------------------------------------- */

static struct usage usage;
static bool measured;

static void usage_done(struct usage *done)
{
    measured = true;
}

static int measure(const char *name)
{
    usage = (struct usage) { .work.pool = &pool_server.pool,
                             .done = usage_done };
    measured = false;
    snprintf(usage.work.operation.volume, sizeof(usage.work.operation.volume),
             "%s", name);
    usage_start(&pool_server.operations, &usage);
    CHECK(measured);
    err = usage.work.why;
    return usage.work.result;
}

static void usage_of_a_clone(void)
{
    begin(true);
    pool_put_text("v", 0, "data");
    CHECK_EQUAL(measure("v"), 0);
    CHECK_SAYS(usage.parent, "base@gold");
    CHECK(usage.allocated > 0 && usage.allocated < SIZE);
    CHECK_EQUAL(usage.snapshots, 0);
    shares = false;
    CHECK_EQUAL(measure("v"), 0);
    CHECK_EQUAL(usage.parent[0], '\0');
    CHECK_EQUAL(measure("w"), -ENOENT);
    end();
}

static void usage_of_snapshots(void)
{
    begin(false);
    CHECK_EQUAL(pool_create(&pool_server.pool, "v2", SIZE, &err), 0);
    for (unsigned int i = 0; i < 3; i++) {
        static const char *const names[] = { "v@one", "v@two", "v2@one" };
        int fd = openat(pool_server.pool.directory, names[i],
                        O_CREAT | O_WRONLY, 0600);

        REQUIRE(fd >= 0 && ftruncate(fd, SIZE) == 0);
        CHECK_EQUAL(pwrite(fd, "data", 4, 0), 4);
        close(fd);
    }
    CHECK_EQUAL(measure("v"), 0);
    CHECK_EQUAL(usage.snapshots, 2);
    CHECK(usage.held > 0 && usage.held < SIZE);
    CHECK(usage.overlaps);
    CHECK_EQUAL(measure("v2"), 0);
    CHECK_EQUAL(usage.snapshots, 1);
    end();
}

static const struct unit_test tests[] = {
    { "a clone is flattened, and who asks is told how far it is",
      clone_is_flattened },
    { "there is nothing to do where clones need nothing",
      other_volume_is_done },
    { "a volume that is missing is not flattened", one_that_is_missing },
    { "a volume is used while it is flattened, and not deleted", others_go_on },
    { "one that nobody asks about is cancelled", abandoned_one_is_cancelled },
    { "why it has failed is the answer", failure_is_reported },
    { "what was answered once is not the answer to who asks later",
      nothing_is_remembered },
    { "four volumes are flattened at a time", four_at_a_time },
    { "who asks is answered when the storage is not", storage_hangs },
    { "a volume's usage names its parent", usage_of_a_clone },
    { "a volume's usage counts its snapshots", usage_of_snapshots },
};

UNIT_SUITE("flatten", tests)
