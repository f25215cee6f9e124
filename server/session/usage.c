/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/usage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/snapshot_name.h"
#include "common/thread.h"

static struct usage *usage_of(struct volume_operation *work)
{
    return container_of(work, struct usage, work);
}

static void ended(struct volume_operation *work)
{
    struct usage *usage = usage_of(work);

    operation_end(&work->operation);
    usage->done(usage);
}

/* ---- Storage ------------------------------------------------------------- */

static int cannot(struct usage *usage, int result)
{
    return rdisk_error_set(&usage->work.why, result,
                           "cannot find out what volume '%s' takes up: %s",
                           usage->work.operation.volume, strerror(-result));
}

static int measure_volume(struct usage *usage)
{
    struct backend *backend = usage->work.volume->backend;
    int result = 0;

    usage->allocated = backend->geometry.size;
    if (backend->class->allocated) {
        result = backend->class->allocated(backend, &usage->allocated);
    }
    if (result == 0 && backend->class->parent) {
        result = backend->class->parent(backend, usage->parent,
                                        sizeof(usage->parent));
    }
    return result < 0 ? cannot(usage, result) : 0;
}

/* Files: blocks that are shared belong to each of them. */
static int measure_files(struct usage *usage)
{
    const char *volume = usage->work.operation.volume;
    char of[RDISK_VOLUME_NAME_MAX + 1];
    struct pool_file *files;
    size_t count;
    int result = pool_scan(usage->work.pool, &files, &count, &usage->work.why);

    usage->overlaps = true;
    for (size_t i = 0; i < count && result == 0; i++) {
        if (snapshot_is_name(files[i].name) &&
            strcmp(snapshot_volume(files[i].name, of), volume) == 0) {
            usage->snapshots++;
            usage->held += files[i].allocated;
        }
    }
    free(files);
    return result;
}

static int measure_snapshots(struct usage *usage)
{
    const struct pool *pool = usage->work.pool;
    const struct backend_pool_class *class = pool->images ? pool->images->pool
                                                          : NULL;

    if (usage->work.volume->configured ||
        snapshot_is_name(usage->work.operation.volume)) {
        return 0; /* it has none */
    }
    if (!class) {
        return measure_files(usage);
    }
    return class->held
               ? class->held(pool->place, usage->work.operation.volume,
                             &usage->snapshots, &usage->held, &usage->work.why)
               : 0;
}

static void measure_run(struct job *job)
{
    struct usage *usage = usage_of(volume_operation_of_job(job));

    usage->work.result = measure_volume(usage);
    if (usage->work.result == 0) {
        usage->work.result = measure_snapshots(usage);
    }
}

/* ---- The operation ------------------------------------------------------- */

static void measure_done(struct job *job)
{
    volume_operation_put(volume_operation_of_job(job), ended);
}

static void opened(struct volume_operation *work)
{
    if (!work->volume ||
        volume_operation_run(work, measure_run, measure_done) < 0) {
        work->result = work->why.code;
        volume_operation_put(work, ended);
    }
}

static void begin(struct operation *operation)
{
    volume_operation_open(volume_operation_of(operation), opened);
}

void usage_start(struct operations *operations, struct usage *usage)
{
    assert_control_thread();
    usage->work.looks = true;
    usage->work.operation.what = "measuring volume";
    usage->work.operation.begin = begin;
    operation_start(operations, &usage->work.operation);
}
