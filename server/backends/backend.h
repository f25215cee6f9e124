/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole contract between the server and what keeps a volume's bytes.
 *
 * A backend is one file in backends/ that exports one struct backend_class.
 * An instance (struct backend) exists once per open volume; a context (struct
 * backend_context) once per instance and reactor that has queues on it, so
 * that the request path needs no lock: each context has its own place on its
 * reactor's ring.
 *
 * Threads: open, close, lock, unlock, resize, identify, identified, changed,
 * sync, share and allocated may wait for storage, and run in a thread of their
 * own (io/jobs.h):
 * one of them at a time for an instance, and close only while it has no
 * context. None changes what the control thread reads, the geometry and the
 * identity, once the instance is open. Everything that takes a context or an io
 * runs on that context's reactor.
 */
#ifndef RDISK_SERVER_BACKENDS_BACKEND_H
#define RDISK_SERVER_BACKENDS_BACKEND_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/container_of.h"
#include "server/backends/range_lock.h"
#include "server/io/reactor.h"
#include <rdisk/error.h>
#include <rdisk/protocol.h>

struct backend;
struct backend_context;
struct backend_io;

/* Whether reads and writes are polled for. AUTO: if the disk is made for it. */
enum backend_polling {
    BACKEND_POLL_AUTO,
    BACKEND_POLL_ON, /* it is an error if they cannot be */
    BACKEND_POLL_OFF,
};

/* How to reach a Ceph cluster. */
struct backend_ceph {
    const char *config;        /* a file that names its monitors */
    const char *user;          /* without "client." */
    const char *keyring;       /* a file with the user's key; "": as @config
                                   says */
    unsigned int op_timeout_s; /* of a request; then it fails */
    unsigned int connect_timeout_s;
    /* This server, of which one process runs at a time, and this process;
     * without blanks. NULL: not known. */
    const char *server, *instance;
};

/* What to open. A class refuses what it cannot do anything with. */
struct backend_spec {
    const char *volume; /* its name, for messages */
    const char *path;   /* file, device or image; NULL: none */
    int directory;      /* @path is relative to it, and is no symbolic
                                   link; AT_FDCWD: the path is an admin's own */
    uint64_t size;      /* bytes; 0: as found */
    bool read_only;
    enum backend_polling polling;
    const char *identity; /* what distinguishes it from all others; NULL: to be
                                   found out */
    const struct backend_ceph *ceph; /* for images of a Ceph pool */
    bool shared_records; /* of who may write it: every server finds them */
    /* Bytes that open has read so far, if class->loads; NULL: nobody asks. */
    _Atomic uint64_t *loaded;
};

struct backend_geometry {
    uint64_t size;         /* bytes, multiple of block_size */
    uint32_t block_size;   /* bytes: offsets and lengths should be
                                   multiples; all are of 512 */
    uint32_t optimal_size; /* bytes; 0: not known */
    bool read_only;
    bool rotational;
    bool discard; /* submit takes RDISK_OP_DISCARD */
    bool zeroes;  /* submit takes RDISK_OP_ZEROES */
    bool extents; /* submit takes RDISK_OP_EXTENTS */
    bool copy;    /* submit takes RDISK_OP_COPY */
};

/* Of the text that names another volume, with its zero. */
#define BACKEND_PARENT_MAX 512

struct backend_pool;

/*
 * A place whose images are volumes. All of it waits for storage, and runs in
 * jobs' threads, any number at once but for close.
 */
struct backend_pool_class {
    /* NULL with @err filled. */
    struct backend_pool *(*open)(const struct backend_ceph *ceph,
                                 const char *place, struct rdisk_error *err);
    void (*close)(struct backend_pool *pool);
    /* Call @add for each image, until it returns false: no memory. 0 or a
     * negative errno with @err. */
    int (*list)(struct backend_pool *pool,
                bool (*add)(void *opaque, const char *name, uint64_t size),
                void *opaque, struct rdisk_error *err);
    /* Durable when it returns 0. -EEXIST: there is one. */
    int (*create)(struct backend_pool *pool, const char *name, uint64_t size,
                  struct rdisk_error *err);
    /* The same; -EBUSY: it is open. */
    int (*delete)(struct backend_pool *pool, const char *name,
                  struct rdisk_error *err);
    /*
     * A small text that belongs to the place, not to an image. read: @size
     * bytes with the NUL; 0, -ENOENT: there is none, or another negative errno.
     * swap: @after in the place of @before, which is to be there until then;
     * -ESTALE, and nothing is changed, if it is not. NULL: no text; both NULL:
     * remove it, whatever it is. On stable storage when it returns 0; if not,
     * either may be there.
     */
    int (*read)(struct backend_pool *pool, const char *name, char *text,
                size_t size);
    int (*swap)(struct backend_pool *pool, const char *name, const char *before,
                const char *after);

    /*
     * Ask what knows the whole, a cluster's monitors, not the data: -ETIMEDOUT
     * if there is no answer. NULL: it is not shared with other servers.
     */
    int (*ping)(struct backend_pool *pool);

    /*
     * Snapshots. @snapshot is the name behind the '@'. Durable when they return
     * 0.
     * snapshot: of the image that is open as @backend, as it is now; no request
     * is being carried out. -EEXIST: there is one. "" is one without a name,
     * for clone() alone; there is one of them at a time, and each is the end of
     * the one before.
     */
    int (*snapshot)(struct backend *backend, const char *snapshot,
                    struct rdisk_error *err);
    /* Delete it; if it has clones, they are not affected. */
    int (*snapshot_delete)(struct backend_pool *pool, const char *image,
                           const char *snapshot, struct rdisk_error *err);
    /* Call @add for each that has a name, until it returns false: no memory.
     * @taken: seconds since 1970. */
    int (*snapshots)(struct backend_pool *pool, const char *image,
                     bool (*add)(void *opaque, const char *snapshot,
                                 uint64_t size, uint64_t taken),
                     void *opaque, struct rdisk_error *err);
    /* The image that is open to write as @backend, and not in use, gets the
     * data of @snapshot. It has another identity when it is opened next, which
     * completes what could not be completed here. */
    int (*revert)(struct backend *backend, const char *snapshot,
                  struct rdisk_error *err);
    /* What the @count snapshots of @image that have a name take up together,
     * besides the image: *@bytes. Those without one are in it. */
    int (*held)(struct backend_pool *pool, const char *image,
                unsigned int *count, uint64_t *bytes, struct rdisk_error *err);
    /* A new image that shares the snapshot's data until it is written to. */
    int (*clone)(struct backend_pool *pool, const char *image,
                 const char *snapshot, const char *name,
                 struct rdisk_error *err);
};

struct backend_class {
    const char *name; /* as in backend=NAME */
    bool has_path;    /* it opens what a path names, and lasts; the others
                                   are given a size */
    bool loads;       /* open reads all of it, and takes as long */
    const struct backend_pool_class *pool; /* NULL: it has none */

    /*
     * Open what @spec names and fill the geometry. Returns NULL with @err
     * filled.
     */
    struct backend *(*open)(const struct backend_spec *spec,
                            struct rdisk_error *err);
    void (*close)(struct backend *backend);
    /*
     * From now on no other server, and no other client of the storage, writes
     * it: 0, or a negative errno with @err. -EBUSY: another one has it. @force:
     * if that is a server of ours, it is fenced first, and no request of it
     * takes effect after the return. -ESTALE: the data, or its size, is not
     * what it was at open, and it is to be opened again. NULL: open has done
     * it.
     */
    int (*lock)(struct backend *backend, bool force, struct rdisk_error *err);
    /* The others may again; no change of ours is being carried out. Closing
     * does it, too. */
    void (*unlock)(struct backend *backend);
    /*
     * Change the size, after backend_check_resize(); the contents stay, growth
     * reads as zeroes. NULL: cannot. Durable when it returns 0; then the caller
     * sets geometry.size, in the control thread. While there are contexts their
     * requests go on; of one that reaches beyond the new end the result is not
     * defined, but it does no harm.
     */
    int (*resize)(struct backend *backend, uint64_t size,
                  struct rdisk_error *err);

    /* Store backend->identity with the data, where it is now. 0, or a negative
     * errno if it cannot be. NULL: cannot. */
    int (*identify)(struct backend *backend);
    /* backend->identity has changed since open, and is settled now; there is no
     * context yet. 0, or a negative errno with @err filled. NULL: nothing
     * depends on it. */
    int (*identified)(struct backend *backend, struct rdisk_error *err);
    /* When the data was changed last, in ns of any clock that goes with the
     * data where it is moved; 0: not known. NULL: never known. */
    uint64_t (*changed)(struct backend *backend);
    /* All that was answered is on stable storage when it returns 0. NULL: it
     * always is. */
    int (*sync)(struct backend *backend, struct rdisk_error *err);
    /*
     * The empty file @fd gets the volume's data as of now, without a copy: the
     * blocks are shared until one of both is written to. No request is being
     * carried out. -ENOTSUP: the storage cannot, with a sentence that says why.
     * NULL: it never can.
     */
    int (*share)(struct backend *backend, int fd, struct rdisk_error *err);
    /*
     * The same by a copy, a bounded piece of it in each call: *@done bytes, 0
     * at first, of the @size that are to be copied are there, and it moves on.
     * What the volume has no data for stays a hole. The volume is not written
     * meanwhile. NULL: cannot.
     */
    int (*copy)(struct backend *backend, int fd, uint64_t *done, uint64_t size,
                struct rdisk_error *err);
    /*
     * The volume, or snapshot, with which this one shares data that it does not
     * have itself, as a text for people; "": none. 0 or a negative errno. NULL:
     * it never does.
     */
    int (*parent)(struct backend *backend, char *text, size_t size);
    /*
     * Copy that data, so that there is none any more. Takes as long as the
     * volume is large, while all else goes on, but close and unlock. Calls
     * @progress once in a while, in any thread, with how many of @total parts
     * are done; false: stop, -ECANCELED. NULL: there is no parent.
     */
    int (*flatten)(struct backend *backend,
                   bool (*progress)(void *opaque, uint64_t done,
                                    uint64_t total),
                   void *opaque, struct rdisk_error *err);
    /* Bytes that the volume takes up; NULL: all of its size. 0 or a negative
     * errno. */
    int (*allocated)(struct backend *backend, uint64_t *bytes);

    /* Join and leave a reactor; leave with no io in flight. */
    struct backend_context *(*join)(struct backend *backend,
                                    struct reactor *reactor,
                                    struct rdisk_error *err);
    void (*leave)(struct backend_context *context);

    /*
     * Carry out @io, which is inside the volume, of whole sectors, and call
     * backend_io_complete() once, now or later, with 0 or a negative errno.
     * A change with RDISK_REQUEST_FUA, and everything completed before a
     * FLUSH was submitted on whichever context, is then on stable storage. If
     * one of them finds that something is not, and may be lost, all that follow
     * fail too, on every context, until there is none any more.
     * Of requests that overlap and are in flight together, on whichever
     * contexts, a READ or COPY finds each block as it was before or after each
     * of the others, never torn.
     * A DISCARD or ZEROES occupies the storage for a bounded time only: what is
     * left of it then is not discarded, or the result is -ENOTSUP, and a part
     * of the range may read as zeroes.
     * EXTENTS fills its list with backend_io_extent(), at least one entry. Its
     * range may be the whole volume, so its cost has to depend on its room, not
     * on its length.
     */
    void (*submit)(struct backend_context *context, struct backend_io *io);
};

struct backend {
    const struct backend_class *class;
    struct backend_geometry geometry;
    /*
     * Filled by open, see identity.h; the same as long as it is open. Who
     * opened it settles the identity before it is used, if it is one that
     * came with the data from elsewhere (@moved), or is not stored with data
     * that it could be stored with (@fresh; then it is @place).
     */
    uint8_t identity[RDISK_ID_SIZE];
    uint8_t place[RDISK_ID_SIZE];
    bool moved, fresh;
    uint8_t cache[RDISK_ID_SIZE];
    const atomic_uint *losses; /* times that answered data was lost; NULL:
                                   that does not happen */
    const atomic_bool *lost;   /* flushes fail, since answered data was lost,
                                   until no context is left; NULL: the same */
    const void *resident;      /* all its data, which nobody changes before
                                   close; NULL: it is not in memory */
    bool inline_io;            /* submit carries out reads, writes and flushes
                                   itself: they take no longer than a copy */
    bool polled;               /* reads and writes may go through a reactor's
                                   polled ring */
    bool lasting;              /* it outlives this process */
    bool locked;               /* class->lock has succeeded; control thread */
    /*
     * Another server has taken it, or the storage does not take requests of
     * this one any more. Set once, by any thread; nothing is answered then.
     */
    atomic_bool fenced;
};

struct backend_context {
    struct backend *backend;
    struct reactor *reactor;
    bool polled; /* they do: this reactor has one */
};

/* ---- I/O -------------------------------------------------------------- */

typedef void backend_io_fn(struct backend_io *io, int result, void *opaque);

/* One for the submitter, one for the backend. */
#define BACKEND_IO_FRAMES 2

/* In memory of the submitter's, from submit to completion. */
struct backend_io {
    enum rdisk_op op;
    unsigned int flags; /* RDISK_REQUEST_… */
    uint64_t offset;    /* bytes */
    uint64_t source;    /* COPY: bytes, where it copies from */
    uint64_t length;    /* bytes; 0 for FLUSH */
    unsigned int room;  /* EXTENTS: entries at @data */
    /* READ and WRITE only: */
    /* Registered buffer that holds @data, by ring, or -1. */
    int buffer[RING_KINDS];
    void *data; /* page-aligned; others may write to it */
    /* Of a READ, NULL at first: the class leaves the data where it is, in
     * backend->resident, instead of putting it at @data. */
    const void *stored;

    /* For the class that carries it out, between submit and completion. */
    struct ring_op ring;
    struct offload_job job;
    struct backend_context *context;
    uint64_t began;          /* rdisk_now(); of a DISCARD or ZEROES */
    uint32_t done;           /* bytes moved, or entries filled, so far */
    int result;              /* of @job, or until it can be reported */
    struct backend_io *next; /* of a list of the class's */
    struct range range;
    bool polled; /* it went through the polled ring */

    uint32_t depth;
    struct {
        backend_io_fn *complete;
        void *opaque;
    } frames[BACKEND_IO_FRAMES];
};

/* See the completion of @io before those who pushed earlier. */
static inline void backend_io_push(struct backend_io *io,
                                   backend_io_fn *complete, void *opaque)
{
    assert(io->depth < BACKEND_IO_FRAMES);
    io->frames[io->depth].complete = complete;
    io->frames[io->depth].opaque = opaque;
    io->depth++;
}

/* Hand @result to the frame pushed last, which may hand it on by calling this
 * again. @io is not touched afterwards. */
static inline void backend_io_complete(struct backend_io *io, int result)
{
    assert(io->depth > 0);
    io->depth--;
    io->frames[io->depth].complete(io, result, io->frames[io->depth].opaque);
}

/*
 * The next run of an EXTENTS; from the offset on, without a gap. io->done
 * begins at 0. False if the list is full now.
 */
static inline bool backend_io_extent(struct backend_io *io, uint64_t length,
                                     uint32_t flags)
{
    struct rdisk_wire_extent *list = io->data;

    list[io->done++] = (struct rdisk_wire_extent) {
        .length = htole64(length),
        .flags = htole32(flags),
    };
    return io->done < io->room;
}

static inline bool backend_is_fenced(const struct backend *backend)
{
    return atomic_load_explicit(&backend->fenced, memory_order_acquire);
}

static inline void backend_submit(struct backend_context *context,
                                  struct backend_io *io)
{
    context->backend->class->submit(context, io);
}

/* ---- Classes ---------------------------------------------------------- */

extern const struct backend_class backend_file;
extern const struct backend_class backend_memory;
extern const struct backend_class backend_null;
extern const struct backend_class backend_resident;

/* The class @name; one that is a module (module.h) is loaded. Control thread.
 * NULL with @err filled: there is none of this name, or it is not installed. */
const struct backend_class *backend_find(const char *name,
                                         struct rdisk_error *err);
/* "file, memory, null, resident, rbd" */
const char *backend_names(void);

/* The id of the volatile cache behind @backend as of now: it changes when
 * answered data is lost. Any thread. */
void backend_cache(const struct backend *backend, uint8_t cache[RDISK_ID_SIZE]);

/* True if answered data has been lost, so that its flushes fail. Any thread. */
bool backend_has_lost(const struct backend *backend);
/* Times that this has happened since the server started. Any thread. */
unsigned int backend_losses(const struct backend *backend);

/* "auto", "on" or "off": the value of io-poll for @what. */
int backend_parse_polling(enum backend_polling *polling, const char *what,
                          const char *value, struct rdisk_error *err);
/* It will not be polled, because @why: 0, or an error if @spec insists. */
int backend_not_polled(const struct backend_spec *spec, const char *why,
                       struct rdisk_error *err);

/* Volumes are made of 512-byte sectors at least: -EINVAL with a sentence for
 * a size that is zero, no multiple of that, or beyond what a file may have. */
int backend_check_size(const char *volume, uint64_t size,
                       struct rdisk_error *err);

/* Check that class->resize may be called with @size: 0 or a negative errno with
 * @err. */
int backend_check_resize(const struct backend *backend, const char *volume,
                         uint64_t size, struct rdisk_error *err);

#endif
