/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the file backend: what its files share. */
#ifndef RDISK_SERVER_BACKENDS_FILE_H
#define RDISK_SERVER_BACKENDS_FILE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "server/backends/backend.h"

struct losses;

/* Flushes, and whether one has failed: file_sync.c. */
struct file_sync {
    int fd;             /* a description that nothing else syncs; -1:
                                   not open */
    atomic_bool failed; /* no flush succeeds any more; read by any
                                   thread, written under the lock */
    struct losses *losses;
    pthread_mutex_t lock; /* of all below */
    unsigned int contexts;
    struct backend_io *batch;   /* that the running sync is for; its first one's
                                   context has the sync on its ring */
    struct backend_io *waiting; /* for the next one */
    struct backend_io **last;   /* of these */
};

struct file {
    struct backend base;
    int fd;
    struct file_sync sync;
    bool device;              /* a block device, not a file */
    bool direct;              /* past the page cache */
    bool takes_turns;         /* what overlaps does: a read might find half of
                                   a write, or a block is read to be written */
    struct range_lock ranges; /* in which they do */
    atomic_bool no_clone;     /* its file system cannot share blocks */
    uint64_t range_time;      /* ns that a DISCARD or ZEROES may take */
    char *volume;             /* its name, for messages */
};

/*
 * Requests that a volume may have at a reactor's rings and threads at a time;
 * as many workers has its reactor of the kernel. Enough for any disk, and all
 * that a volume keeps when its storage does not answer.
 */
#define FILE_REQUESTS 256u

/*
 * How long a DISCARD or ZEROES goes on, ms: its time grows with its length, and
 * a client gives up a connection on which a request takes too long
 * (request-timeout, 10 s by default). It is done in pieces, and ends after the
 * first one that is over this time.
 */
#define FILE_RANGE_MS 2000

struct file_context {
    struct backend_context base;
    unsigned int requests;      /* of these */
    struct backend_io *waiting; /* for one of them to end */
    struct backend_io **last;
    bool admitting; /* further up the stack */
    struct offload_lane lane;
    int fd;
    int index[RING_KINDS]; /* in the rings' tables of files, or -1 */
    struct ring_op sync;
    uint64_t failures;
};

static inline struct file *file_of(struct backend *backend)
{
    return container_of(backend, struct file, base);
}

/* For the class: file_request.c. */
struct backend_context *file_join(struct backend *backend,
                                  struct reactor *reactor,
                                  struct rdisk_error *err);
void file_leave(struct backend_context *base);
void file_submit(struct backend_context *base, struct backend_io *io);

/* For the class: file_share.c. */
int file_sync_now(struct backend *backend, struct rdisk_error *err);
int file_share(struct backend *backend, int fd, struct rdisk_error *err);
int file_copy(struct backend *backend, int fd, uint64_t *done, uint64_t size,
              struct rdisk_error *err);

/* Give back @range of file->ranges; requests that waited for it begin. Any
 * thread. */
void file_turn_over(struct file *file, struct range *range);

/* Log a failure, unless it is one of too many. Reactor. */
void file_fail(struct file_context *context, struct backend_io *io,
               const char *why);
/* A flag of the queue of the disk that a file is on, or that it is. */
bool file_disk_flag(const struct stat *st, const char *name);
/* Settle whether reads and writes are polled for, when all else is. 0, or a
 * negative errno with @err filled if @spec requires what cannot be done. */
int file_choose_polling(struct file *file, const struct backend_spec *spec,
                        const struct stat *st, struct rdisk_error *err);
/* Once there is an identity, and when it has changed since. 0, or a negative
 * errno with @err filled. */
int file_sync_open(struct file *file, const struct backend_spec *spec,
                   struct rdisk_error *err);
int file_sync_identified(struct file *file, struct rdisk_error *err);
void file_sync_close(struct file *file);
/* Reactor: a context comes or goes. The last to go ends a failure. */
void file_sync_join(struct file *file);
void file_sync_leave(struct file *file);
/* Reactor: complete @io, a FLUSH or a change with FUA that has been carried
 * out, when all that was answered before is on stable storage; with -EIO if
 * that fails, or has failed before. */
void file_sync_submit(struct file_context *context, struct backend_io *io);
/* Another sync of the file has failed with @result. Any thread. */
void file_sync_fail(struct file *file, int result);
/* True if one has failed. Any thread. */
bool file_sync_failed(const struct file *file);
/* Carry out EXTENTS or COPY, which io_uring does not have, or what is not of
 * whole blocks. Reactor. */
void file_offload(struct file_context *context, struct backend_io *io);
/* file_unaligned.c: it is not of whole blocks. */
bool file_is_unaligned(const struct file *file, const struct backend_io *io);
/* A DISCARD, ZEROES or COPY that is: 1 if it goes on, with its whole blocks
 * only, else what it is completed with. */
int file_cut_to_blocks(const struct file *file, struct backend_io *io);
/* Bytes allocated to it and not shared. A thread beside the reactor. */
bool file_unaligned_run(struct offload_job *job);

#endif
