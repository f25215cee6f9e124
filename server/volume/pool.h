/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All volumes of the server: those with a section in the configuration, which
 * are always open, and the files of the pool directory, or the images of the
 * place that is the pool, which are open while a session holds them. Control
 * thread.
 */
#ifndef RDISK_SERVER_VOLUME_POOL_H
#define RDISK_SERVER_VOLUME_POOL_H

#include "server/volume/records.h"
#include "server/volume/volume.h"

struct pool {
    char *path;             /* NULL: no pool directory */
    int directory;          /* its descriptor, or -1 */
    int lock;               /* that keeps other servers away, or -1 */
    unsigned int wait_ms;   /* for locks of a server that is ending */
    struct volume *volumes; /* that are open */
    /* Of all volumes that were written since the server started. */
    struct lease *leases;
    struct records *records;      /* NULL: leases end with the server */
    uint64_t lease_time;          /* ns that one is kept for a disconnected
                                     client */
    uint64_t started;             /* rdisk_now() */
    enum backend_polling polling; /* of the directory's volumes */
    /* Instead of a directory: a place of a backend's. NULL: none. */
    const struct backend_class *images;
    struct backend_pool *place;
    const struct backend_ceph *ceph;
    struct lease_store shared;    /* records, in that place, */
    uint8_t owner[RDISK_ID_SIZE]; /* in which this process is known as that */
};

/*
 * @path may be NULL. -EBUSY if another server uses the directory, after a wait
 * of up to @wait_ms, which holds for configured volumes, too. 0 or a negative
 * errno with @err filled.
 */
int pool_init(struct pool *pool, const char *path, unsigned int wait_ms,
              struct rdisk_error *err);
/* The same with images of @class, which has pools, in @place; @ceph lasts as
 * long as the pool. */
int pool_init_images(struct pool *pool, const struct backend_class *class,
                     const struct backend_ceph *ceph, const char *place,
                     unsigned int wait_ms, struct rdisk_error *err);
/* Close everything; no volume is held any more. */
void pool_destroy(struct pool *pool);

/* Open a configured volume. */
int pool_configure(struct pool *pool, const struct backend_class *class,
                   const struct backend_spec *spec, struct rdisk_error *err);

/*
 * Steps of opening and closing a volume (volume_operation.h): pool_find() is
 * what is open; pool_open_file() only touches storage; pool_add() enters what
 * it has opened, with one reference. pool_unlink() drops one: true if it was
 * the last, and volume_free() is to follow, which only touches storage.
 */
struct volume *pool_find(const struct pool *pool, const char *name);
/* 0, or -EINVAL with a sentence. */
int pool_check_name(const char *name, struct rdisk_error *err);
/* The same of a volume that is to be, which has no snapshot's name. */
int pool_check_new_name(const char *name, struct rdisk_error *err);
struct backend *pool_open_file(const struct pool *pool, const char *name,
                               struct rdisk_error *err);
struct volume *pool_add(struct pool *pool, const char *name,
                        struct backend *backend, struct rdisk_error *err);
bool pool_unlink(struct pool *pool, struct volume *volume);

/* True if other servers may have the volume, and it is fenced there when it is
 * taken from them. */
bool pool_is_shared(const struct pool *pool, const struct volume *volume);
/* Where records of leases are kept; NULL: leases end with the server. */
const struct lease_store *pool_records(const struct pool *pool);

/* How long leases are kept, in ns: for writers that go away from now on. */
void pool_set_lease_time(struct pool *pool, uint64_t lease_time);

/*
 * The lease of a volume that a client wants to write, to be compared with its
 * record (lease_read(), lease_compare()) as of pool_lease_since(). NULL: no
 * memory.
 */
struct lease *pool_lease_of(struct pool *pool, struct volume *volume,
                            struct rdisk_error *err);
uint64_t pool_lease_since(const struct pool *pool, struct lease *lease,
                          uint64_t now);

/*
 * Of a volume that no client has open to write, whose record was just read as
 * @record: 0, or -EBUSY with a sentence if @what must not be done to it because
 * its writer may reconnect.
 */
int pool_not_kept(struct pool *pool, const char *name, const uint8_t *identity,
                  const struct lease_record *record, const char *what,
                  struct rdisk_error *err);

struct pool_entry {
    const char *name;
    const char *backend;          /* name of its class */
    uint64_t size;                /* bytes */
    const struct pool_file *file; /* NULL: not of the pool directory, or not
                                     known */
    const struct volume *volume;  /* NULL: not open */
    const struct lease *lease;    /* NULL: no client has written it since the
                                   server started */
};
/* What an image takes up is not known without a walk through its objects. */
#define POOL_UNKNOWN UINT64_MAX
/* A file or image of the pool that may be a volume. */
struct pool_file {
    char name[RDISK_VOLUME_NAME_MAX + 1];
    uint64_t size;      /* bytes */
    uint64_t allocated; /* the same, of its file system; or POOL_UNKNOWN */
    uint64_t changed;   /* ns since 1970; of a snapshot: when it was taken */
};
/* The file system of the pool directory, bytes; all 0: not known. */
struct pool_space {
    uint64_t capacity;  /* all of it */
    uint64_t available; /* that the server may still allocate */
};
/* 0 or a negative errno. Storage only. */
int pool_space(const struct pool *pool, struct pool_space *space);
/*
 * The files of the pool directory, in memory to be freed; storage only. 0 or a
 * negative errno with @err filled, and no files.
 */
int pool_scan(const struct pool *pool, struct pool_file **files, size_t *count,
              struct rdisk_error *err);
/*
 * Append the snapshots of @volume, "": of each of @files, where pool_scan()
 * does not find them: those of images, one call of the cluster for each.
 * Storage only. 0, or a negative errno with @err, and no files.
 */
int pool_scan_snapshots(const struct pool *pool, const char *volume,
                        struct pool_file **files, size_t *count,
                        struct rdisk_error *err);
/* Calls @fn for each volume: those that are open, and the others of @files. */
void pool_for_each(struct pool *pool, const struct pool_file *files,
                   size_t count,
                   void (*fn)(void *opaque, const struct pool_entry *entry),
                   void *opaque);
unsigned int pool_count(struct pool *pool);

#endif
