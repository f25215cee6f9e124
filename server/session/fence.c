/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/fence.h"

#include <errno.h>
#include <stdio.h>

#include "common/container_of.h"
#include "common/thread.h"

static struct fence *fence_of(struct volume_operation *work)
{
    return container_of(work, struct fence, work);
}

static struct fence *of_job(struct job *job)
{
    return fence_of(volume_operation_of_job(job));
}

static void ended(struct volume_operation *work)
{
    struct fence *fence = fence_of(work);

    operation_end(&work->operation);
    fence->done(fence);
}

/* work->why is filled. */
static void fail(struct fence *fence)
{
    fence->work.result = fence->work.why.code;
    volume_operation_put(&fence->work, ended);
}

static unsigned int end_writers(struct server *server,
                                const struct volume *volume)
{
    unsigned int count = 0;
    char text[256];

    snprintf(text, sizeof(text),
             "this client was fenced from volume '%s' with rdisk fence: it may "
             "no longer write",
             volume->name);
    for (struct session *session = server->sessions; session;
         session = session->next) {
        if (session->holder.volume == volume && session->holder.writer) {
            session->holder.fenced = true;
            session_end(session, RDISK_STATUS_STALE, text);
            count++;
        }
    }
    return count;
}

static void commit(struct fence *fence)
{
    struct volume *volume = fence->work.volume;

    lease_fenced(volume->lease, &fence->record);
    fence->generation = fence->record.generation;
    fence->sessions = end_writers(fence->server, volume);
    volume_operation_put(&fence->work, ended);
}

static void save_run(struct job *job)
{
    struct fence *fence = of_job(job);

    fence->work.result = lease_save(&fence->lease, &fence->record,
                                    &fence->work.why);
}

static void save_done(struct job *job)
{
    struct fence *fence = of_job(job);

    if (fence->work.result < 0) {
        fail(fence);
    } else {
        commit(fence);
    }
}

/* First the record, then the sessions. */
static void save(struct fence *fence)
{
    struct lease *lease = fence->work.volume->lease;

    fence->lease = *lease;
    lease_plan_fence(lease, &fence->record);
    if (!lease->store) {
        commit(fence);
    } else if (operation_run(&fence->work.operation, lease->store, save_run,
                             save_done, &fence->work.why) < 0) {
        fail(fence);
    }
}

static void read_run(struct job *job)
{
    struct fence *fence = of_job(job);

    fence->work.result = lease_read(fence->lease.store, fence->lease.identity,
                                    &fence->record, &fence->work.why);
}

static void read_done(struct job *job)
{
    struct fence *fence = of_job(job);
    struct lease *lease = fence->work.volume->lease;

    if (fence->work.result < 0) {
        fail(fence);
        return;
    }
    lease_compare(lease, &fence->record,
                  pool_lease_since(fence->work.pool, lease,
                                   rdisk_now(fence->server->env)));
    save(fence);
}

static void opened(struct volume_operation *work)
{
    struct fence *fence = fence_of(work);
    struct lease *lease = work->volume ? pool_lease_of(work->pool, work->volume,
                                                       &work->why)
                                       : NULL;

    if (!lease) {
        fail(fence);
    } else if (!lease->store) {
        save(fence);
    } else {
        fence->lease = *lease;
        if (operation_run(&work->operation, lease->store, read_run, read_done,
                          &work->why) < 0) {
            fail(fence);
        }
    }
}

static void fence_begin(struct operation *operation)
{
    volume_operation_open(volume_operation_of(operation), opened);
}

void fence_start(struct fence *fence)
{
    assert_control_thread();
    fence->work.force = true;
    fence->work.operation.what = "fencing volume";
    fence->work.operation.begin = fence_begin;
    operation_start(&fence->server->operations, &fence->work.operation);
}
