/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/shared_records.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "server/volume/identity.h"
#include "server/volume/record_text.h"

/* The text, "" if there is none. */
static int read_text(const struct pool *pool, const char *name,
                     char text[RECORD_MAX + 1], struct rdisk_error *err)
{
    int result = pool->images->pool->read(pool->place, name, text,
                                          RECORD_MAX + 1);

    if (result == -ENOENT) {
        text[0] = '\0';
        return 0;
    }
    return result < 0 ? rdisk_error_set(err, -EIO,
                                        "cannot read '%s' in '%s', the record "
                                        "of who may write: %s",
                                        name, pool->path, strerror(-result))
                      : 0;
}

static int parse(const struct pool *pool, const char *name, const char *text,
                 struct lease_record *record, struct rdisk_error *err)
{
    if (!text[0]) {
        return -ENOENT;
    }
    return record_parse(text, record)
               ? 0
               : rdisk_error_set(err, -EIO,
                                 "'%s' in '%s', the record of who may write, "
                                 "is damaged; remove it if no disconnected "
                                 "client of the volume can reconnect",
                                 name, pool->path);
}

static int load(void *opaque, const uint8_t *identity,
                struct lease_record *record, struct rdisk_error *err)
{
    const struct pool *pool = opaque;
    char name[RECORD_NAME], text[RECORD_MAX + 1];
    int result;

    record_name(identity, name);
    result = read_text(pool, name, text, err);
    return result < 0 ? result : parse(pool, name, text, record, err);
}

static int changed(const struct pool *pool, const struct lease_record *record,
                   struct rdisk_error *err)
{
    return rdisk_error_set(err, -EBUSY,
                           "the record of who may write volume '%s' in '%s' "
                           "was changed by another server",
                           record->volume, pool->path);
}

static bool same_owner(const struct lease_record *a,
                       const struct lease_record *b)
{
    return memcmp(a->owner, b->owner, sizeof(a->owner)) == 0;
}

/* An owner that neither of the two has: the volume is another server's now. */
static bool is_later(const struct lease_record *stored,
                     const struct lease_record *before,
                     const struct lease_record *record)
{
    return stored->generation > before->generation ||
           (!same_owner(stored, before) && !same_owner(stored, record));
}

static int save(void *opaque, const uint8_t *identity,
                const struct lease_record *before,
                const struct lease_record *record, struct rdisk_error *err)
{
    const struct pool *pool = opaque;
    char name[RECORD_NAME], found[RECORD_MAX + 1], after[RECORD_MAX];
    struct lease_record stored;
    int result;

    record_name(identity, name);
    result = read_text(pool, name, found, err);
    if (result == 0) {
        result = parse(pool, name, found, &stored, err);
    }
    if (result == 0 && is_later(&stored, before, record)) {
        return changed(pool, record, err);
    }
    if (result < 0 && result != -ENOENT) {
        return result;
    }
    record_print(record, after);
    result = pool->images->pool->swap(pool->place, name,
                                      found[0] ? found : NULL, after);
    if (result == -ESTALE) {
        return changed(pool, record, err);
    }
    return result < 0 ? rdisk_error_set(err, result,
                                        "cannot write '%s' in '%s', the record "
                                        "of who may write: %s",
                                        name, pool->path, strerror(-result))
                      : 0;
}

/* One that stays is of an identity that no other image gets. */
static void remove_record(void *opaque, const uint8_t *identity)
{
    const struct pool *pool = opaque;
    char name[RECORD_NAME];

    record_name(identity, name);
    pool->images->pool->swap(pool->place, name, NULL, NULL);
}

void shared_records_init(struct lease_store *store, struct pool *pool)
{
    *store = (struct lease_store) {
        .load = load,
        .save = save,
        .remove = remove_record,
        .opaque = pool,
        .owner = pool->owner,
    };
    identity_random(pool->owner);
}
