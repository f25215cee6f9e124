/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flushes of a file, and what is lost when one fails.
 *
 * Linux reports a failed write-back once for each open file description, to
 * whichever system call on it syncs next, and marks the pages as written: the
 * next fsync(2) succeeds, and the data is lost. So:
 *
 * - Flushes have a description that nothing else syncs. A FUA write or a resize
 *   cannot take the error away from it.
 * - One sync at a time, for all reactors: two at once would share the one
 *   report. A flush that arrives during a sync waits for the next one, since
 *   the running one may have passed its data by; all that wait share that one.
 * - A failure lasts until no reactor has the volume any more. Then all its
 *   clients have opened it again; those that reconnect after a lost connection
 *   get another cache id (losses.h; protocol.md, 3.7).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "server/backends/file.h"
#include "server/volume/losses.h"

/* ---- Life ------------------------------------------------------------- */

/* Another description of the same file. */
static int open_again(const struct file *file, const struct backend_spec *spec,
                      struct rdisk_error *err)
{
    int flags = O_CLOEXEC | (spec->read_only ? O_RDONLY : O_RDWR) |
                (spec->directory != AT_FDCWD ? O_NOFOLLOW : 0);
    int fd = openat(spec->directory, spec->path, flags);
    struct stat first, again;

    if (fd < 0 || fstat(file->fd, &first) < 0 || fstat(fd, &again) < 0) {
        rdisk_error_set(err, -errno, "cannot open volume '%s': %s",
                        spec->volume, strerror(errno));
    } else if (first.st_dev == again.st_dev && first.st_ino == again.st_ino) {
        return fd;
    } else {
        rdisk_error_set(err, -ESTALE,
                        "cannot open volume '%s': another file has replaced it",
                        spec->volume);
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* Losses are counted under the identity that the next opening finds. */
int file_sync_identified(struct file *file, struct rdisk_error *err)
{
    struct losses *losses = losses_get(file->base.identity);

    if (!losses) {
        return rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                               file->volume);
    }
    if (file->sync.losses) {
        losses_put(file->sync.losses);
    }
    file->sync.losses = losses;
    file->base.losses = losses_count(losses);
    return 0;
}

int file_sync_open(struct file *file, const struct backend_spec *spec,
                   struct rdisk_error *err)
{
    struct file_sync *sync = &file->sync;

    sync->fd = open_again(file, spec, err);
    if (sync->fd < 0) {
        return -1;
    }
    if (file_sync_identified(file, err) < 0) {
        close(sync->fd);
        sync->fd = -1;
        return -1;
    }
    file->base.lost = &sync->failed;
    pthread_mutex_init(&sync->lock, NULL);
    sync->last = &sync->waiting;
    return 0;
}

void file_sync_close(struct file *file)
{
    struct file_sync *sync = &file->sync;

    if (sync->fd >= 0) {
        close(sync->fd);
        losses_put(sync->losses);
        pthread_mutex_destroy(&sync->lock);
    }
}

void file_sync_join(struct file *file)
{
    pthread_mutex_lock(&file->sync.lock);
    file->sync.contexts++;
    pthread_mutex_unlock(&file->sync.lock);
}

void file_sync_leave(struct file *file)
{
    pthread_mutex_lock(&file->sync.lock);
    if (--file->sync.contexts == 0) {
        atomic_store(&file->sync.failed, false);
    }
    pthread_mutex_unlock(&file->sync.lock);
}

/* ---- Failures --------------------------------------------------------- */

bool file_sync_failed(const struct file *file)
{
    return atomic_load_explicit(&file->sync.failed, memory_order_relaxed);
}

static void fail_locked(struct file *file, int result)
{
    struct file_sync *sync = &file->sync;

    losses_add(sync->losses);
    /* With no client, only the requester of the sync gets the error. */
    if (sync->contexts && !atomic_exchange(&sync->failed, true)) {
        log_error("volume '%s': its storage failed to make answered data "
                  "stable: %s; what was written since the last flush may be "
                  "lost, and every flush fails until all its clients have "
                  "closed it",
                  file->volume, strerror(-result));
    }
}

void file_sync_fail(struct file *file, int result)
{
    pthread_mutex_lock(&file->sync.lock);
    fail_locked(file, result);
    pthread_mutex_unlock(&file->sync.lock);
}

/* ---- Flushes ---------------------------------------------------------- */

static void start(struct file_context *context)
{
    struct file *file = file_of(context->base.backend);
    struct io_uring_sqe *sqe = reactor_sqe(context->base.reactor,
                                           RING_ORDINARY);

    io_uring_prep_fsync(sqe, file->sync.fd, IORING_FSYNC_DATASYNC);
    reactor_sqe_set(sqe, &context->sync);
}

static void start_run(struct message *message)
{
    struct backend_io *io = container_of(message, struct backend_io,
                                         job.message);

    start(container_of(io->context, struct file_context, base));
}

static void answer_run(struct message *message)
{
    struct backend_io *io = container_of(message, struct backend_io,
                                         job.message);

    backend_io_complete(io, io->result);
}

/* On its own reactor. */
static void run_for(struct backend_io *io, struct reactor *here,
                    void (*run)(struct message *message))
{
    io->job.message.run = run;
    if (io->context->reactor == here) {
        run(&io->job.message);
    } else {
        reactor_send(io->context->reactor, &io->job.message);
    }
}

/*
 * What waits is the next sync's, whose first request has it on its reactor:
 * there it keeps the context until the sync is done. Returns what the last sync
 * was for, and all that waits if it failed. Under the lock.
 */
static struct backend_io *next_batch(struct file_sync *sync)
{
    struct backend_io *done = sync->batch, **end = &done;

    if (atomic_load(&sync->failed)) {
        while (*end) {
            end = &(*end)->next;
        }
        *end = sync->waiting;
        sync->waiting = NULL;
    }
    sync->batch = sync->waiting;
    sync->waiting = NULL;
    sync->last = &sync->waiting;
    return done;
}

static void sync_done(struct ring_op *op, int result, unsigned int flags)
{
    struct file_context *context = container_of(op, struct file_context, sync);
    struct reactor *here = context->base.reactor;
    struct file *file = file_of(context->base.backend);
    struct backend_io *done, *first;

    if (result == -EINTR || result == -EAGAIN) {
        start(context);
        return;
    }
    pthread_mutex_lock(&file->sync.lock);
    if (result < 0) {
        fail_locked(file, result);
    }
    result = file_sync_failed(file) ? -EIO : 0;
    done = next_batch(&file->sync);
    first = file->sync.batch;
    pthread_mutex_unlock(&file->sync.lock);
    if (first) {
        run_for(first, here, start_run);
    }
    while (done) {
        struct backend_io *next = done->next;

        done->result = result;
        run_for(done, here, answer_run);
        done = next;
    }
}

void file_sync_submit(struct file_context *context, struct backend_io *io)
{
    struct file_sync *sync = &file_of(context->base.backend)->sync;
    bool idle;

    context->sync.done = sync_done;
    io->next = NULL;
    pthread_mutex_lock(&sync->lock);
    if (atomic_load(&sync->failed)) {
        pthread_mutex_unlock(&sync->lock);
        backend_io_complete(io, -EIO);
        return;
    }
    idle = !sync->batch;
    if (idle) {
        sync->batch = io;
    } else {
        *sync->last = io;
        sync->last = &io->next;
    }
    pthread_mutex_unlock(&sync->lock);
    if (idle) {
        start(context);
    }
}
