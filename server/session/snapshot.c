/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/container_of.h"
#include "common/snapshot_name.h"
#include "common/thread.h"
#include "server/server.h"

static struct snapshot *snapshot_of(struct volume_operation *work)
{
    return container_of(work, struct snapshot, work);
}

static struct snapshot *of_job(struct job *job)
{
    return snapshot_of(volume_operation_of_job(job));
}

static const char *source_of(const struct snapshot *snapshot)
{
    return snapshot->work.operation.volume;
}

/* ---- The end ------------------------------------------------------------ */

static void ended(struct volume_operation *work)
{
    struct snapshot *snapshot = snapshot_of(work);

    operation_end(&work->operation);
    snapshot->done(snapshot);
}

/* work->why is filled. */
static void fail(struct snapshot *snapshot)
{
    snapshot->work.result = snapshot->work.why.code;
    volume_operation_put(&snapshot->work, ended);
}

/* ---- Commit, or drop: storage ------------------------------------------- */

static void commit_run(struct job *job)
{
    struct snapshot *snapshot = of_job(job);
    struct volume_operation *work = &snapshot->work;

    if (work->result < 0) {
        pool_shot_drop(&snapshot->shot);
    } else {
        work->result = pool_shot_commit(&snapshot->shot, &work->why);
    }
}

static void commit_done(struct job *job)
{
    struct snapshot *snapshot = of_job(job);
    struct volume *volume = snapshot->work.volume;

    snapshot->pause = snapshot->barrier.pause;
    if (snapshot->pause > volume->longest_pause) {
        volume->longest_pause = snapshot->pause;
    }
    volume_operation_put(&snapshot->work, ended);
}

static void commit(struct snapshot *snapshot)
{
    struct volume_operation *work = &snapshot->work;
    struct rdisk_error err;

    if (operation_run(&work->operation, work->pool, commit_run, commit_done,
                      &err) < 0) {
        /* No thread can take it: it is carried out here. */
        pool_shot_drop(&snapshot->shot);
        work->result = rdisk_error_set(&work->why, err.code, "%s", err.text);
        volume_operation_put(work, ended);
    }
}

/* ---- Share: storage, while requests are held ---------------------------- */

/* What was shared after the limit is not of one moment. */
static void settle(struct snapshot *snapshot)
{
    struct volume_operation *work = &snapshot->work;

    if (snapshot->barrier.expired && work->result == 0) {
        work->result = rdisk_error_set(
            &work->why, -ETIMEDOUT,
            "the storage of volume '%s' has not completed its requests and "
            "what is to be done between them within %d seconds, for which "
            "clients' requests may be held: there is no '%s'; try again when "
            "it is less busy",
            source_of(snapshot), SNAPSHOT_PAUSE_MS / 1000, snapshot->target);
    }
    commit(snapshot);
}

static void share_run(struct job *job)
{
    struct snapshot *snapshot = of_job(job);
    struct volume_operation *work = &snapshot->work;
    struct backend *backend = work->volume->backend;

    work->result = backend->class->sync(backend, &work->why);
    if (work->result == 0) {
        work->result = pool_shot_take(&snapshot->shot, backend, &work->why);
    }
}

static void share_done(struct job *job)
{
    struct snapshot *snapshot = of_job(job);

    snapshot->sharing = false;
    if (snapshot->barrier.state == BARRIER_IDLE) {
        settle(snapshot); /* it has expired, and is released */
    } else {
        barrier_release(&snapshot->barrier);
    }
}

static void held(struct barrier *barrier)
{
    struct snapshot *snapshot = container_of(barrier, struct snapshot, barrier);
    struct volume_operation *work = &snapshot->work;

    snapshot->sharing = true;
    if (volume_operation_run(work, share_run, share_done) < 0) {
        snapshot->sharing = false;
        work->result = work->why.code;
        barrier_release(barrier);
    }
}

static void released(struct barrier *barrier)
{
    struct snapshot *snapshot = container_of(barrier, struct snapshot, barrier);

    if (snapshot->sharing) {
        return; /* share_done() goes on */
    }
    settle(snapshot);
}

/* ---- Prepare: storage --------------------------------------------------- */

static void prepare_run(struct job *job)
{
    struct snapshot *snapshot = of_job(job);
    struct volume_operation *work = &snapshot->work;
    struct backend *backend = work->volume->backend;

    work->result = pool_shot_begin(&snapshot->shot, work->pool,
                                   source_of(snapshot), snapshot->target,
                                   snapshot->serial, &work->why);
    if (work->result == 0) {
        work->result = backend->class->sync(backend, &work->why);
    }
}

static void prepare_done(struct job *job)
{
    struct snapshot *snapshot = of_job(job);
    struct volume_operation *work = &snapshot->work;
    struct rdisk_error err;

    if (work->result < 0 && !snapshot->shot.begun) {
        fail(snapshot);
        return;
    }
    if (work->result < 0) {
        commit(snapshot);
        return;
    }
    snapshot->barrier = (struct barrier) {
        .server = snapshot->server,
        .backend = work->volume->backend,
        .limit = SNAPSHOT_PAUSE_MS * RDISK_MSEC,
        .held = held,
        .released = released,
    };
    if (barrier_begin(&snapshot->barrier, &err) < 0) {
        work->result = rdisk_error_set(&work->why, err.code, "%s", err.text);
        commit(snapshot);
    }
}

/* ---- Check -------------------------------------------------------------- */

/* The names alone. */
static int check_names(const struct snapshot *snapshot, struct rdisk_error *err)
{
    const char *target = snapshot->target;
    int result;

    if (!snapshot_is_name(target)) {
        return pool_check_new_name(target, err);
    }
    result = snapshot_name_check(target, err);
    if (result < 0) {
        return result;
    }
    if (snapshot_is_name(source_of(snapshot)) ||
        strncmp(target, source_of(snapshot), snapshot_volume_length(target)) !=
            0 ||
        source_of(snapshot)[snapshot_volume_length(target)] != '\0') {
        return rdisk_error_set(err, -EINVAL,
                               "'%s' is not a name of a snapshot of volume "
                               "'%s'",
                               target, source_of(snapshot));
    }
    return 0;
}

static int check_volume(const struct pool *pool, const struct volume *volume,
                        struct rdisk_error *err)
{
    const struct backend_class *class = volume->backend->class;

    if (volume->configured) {
        return rdisk_error_set(err, -ENOTSUP,
                               "volume '%s' has a section of its own in the "
                               "server's configuration: only volumes of the "
                               "pool have snapshots and clones",
                               volume->name);
    }
    if (!class->share && !(pool->images && pool->images->pool->snapshot)) {
        return rdisk_error_set(err, -ENOTSUP,
                               "backend %s of volume '%s' has no snapshots and "
                               "clones",
                               class->name, volume->name);
    }
    return 0;
}

static void opened(struct volume_operation *work)
{
    struct snapshot *snapshot = snapshot_of(work);

    if (!work->volume ||
        check_volume(work->pool, work->volume, &work->why) < 0 ||
        volume_operation_run(work, prepare_run, prepare_done) < 0) {
        fail(snapshot);
    }
}

/* Of those that are made, 0 is none. */
static unsigned int next_serial(void)
{
    static unsigned int serials;

    return ++serials ? serials : ++serials;
}

static void snapshot_begin(struct operation *operation)
{
    struct snapshot *snapshot = snapshot_of(volume_operation_of(operation));

    if (check_names(snapshot, &snapshot->work.why) < 0 ||
        pool_shot_check_target(snapshot->work.pool, snapshot->target,
                               &snapshot->work.why) < 0) {
        snapshot->work.result = snapshot->work.why.code;
        ended(&snapshot->work);
        return;
    }
    snapshot->serial = next_serial();
    volume_operation_open(&snapshot->work, opened);
}

void snapshot_start(struct snapshot *snapshot)
{
    assert_control_thread();
    snapshot->work.pool = &snapshot->server->pool;
    snapshot->work.operation.what = snapshot_is_name(snapshot->target)
                                        ? "taking a snapshot of volume"
                                        : "cloning volume";
    snapshot->work.operation.begin = snapshot_begin;
    operation_start(&snapshot->server->operations, &snapshot->work.operation);
}
