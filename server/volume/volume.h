/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A volume that is open: its backend, shared by all sessions on it, and its
 * holders. Control thread; reactors only see its backend.
 */
#ifndef RDISK_SERVER_VOLUME_VOLUME_H
#define RDISK_SERVER_VOLUME_VOLUME_H

#include <stdbool.h>
#include <stdint.h>

#include "server/backends/backend.h"
#include "server/volume/lease.h"
#include <rdisk/target.h>

struct volume;

/* One session's hold on a volume; embedded in the session. */
struct volume_holder {
    struct volume *volume; /* NULL: none */
    char peer[64];
    char user[RDISK_USER_NAME_MAX + 1]; /* "" without authentication */
    uint8_t client[16];
    uint64_t epoch;
    uint64_t generation; /* sent by a client that reconnects, or 0; as
                                   a holder, of its lease: 0 for a reader */
    bool writer;
    bool shared; /* a writer that lets others write */
    /*
     * It is being ended, and only its requests may still be in flight: a newer
     * session of the same client replaces it, or an administrator has revoked
     * the lease.
     */
    bool fenced;
    struct volume_holder *next;
};

struct volume {
    char name[RDISK_VOLUME_NAME_MAX + 1];
    struct backend *backend;
    bool configured;         /* has a section of its own; stays open */
    unsigned int references; /* holders, and one if configured */
    struct volume_holder *holders;
    struct lease *lease;               /* the pool's; NULL: not needed yet */
    struct rdisk_target_counters past; /* of sessions that have ended */
    uint64_t polled_past;              /* the same */
    unsigned int copies;    /* of it that are being made: no client may write
                               it */
    unsigned int flattens;  /* of it that are carried out: its lock is kept */
    uint64_t registering;   /* ns that it takes at most to register its memory
                               for a session, if it is resident */
    uint64_t longest_pause; /* ns that a snapshot has held its
                                          requests, since it was opened */
    struct volume *next;    /* of the pool's list */
};

struct volume *volume_new(const char *name, struct backend *backend,
                          struct rdisk_error *err);
void volume_free(struct volume *volume);

/*
 * Check whether @wanted, not yet a holder, may have the volume. OK; BUSY with a
 * sentence that names who holds it, or for whom it is kept; STALE if this
 * client has a newer session, or reconnects after another one had the lease.
 * For a writer, the volume must have its lease.
 *
 * Fencing: *@older, if not NULL, is an older session of the same client, or one
 * that has lost the volume: by an administrator's fence, or by a record that
 * another server has changed. The caller must fence it, and check again when it
 * is no holder any more.
 */
enum rdisk_status volume_check(const struct volume *volume,
                               const struct volume_holder *wanted, uint64_t now,
                               struct volume_holder **older,
                               struct rdisk_error *err);
/* After that, and lease_grant() for a writer: it is a holder. Does not change
 * the reference count. */
void volume_enter(struct volume *volume, struct volume_holder *holder);
/* Remove a holder. @orderly: the client does not reconnect. True if it was the
 * last writer: volume_settle() is to follow. */
bool volume_release(struct volume_holder *holder, bool orderly, uint64_t now);
/*
 * Its last writer has left: the record of @lease, the volume's or a copy of it,
 * is saved, with when the data changed last. 0 or a negative errno with @err.
 * Storage only: a job may do it.
 */
int volume_settle(struct volume *volume, struct lease *lease,
                  struct rdisk_error *err);

/* 0 if no client has it open, else -EBUSY with a sentence that names those that
 * have. @what: a verb for the sentence, "delete". */
int volume_check_free(const struct volume *volume, const char *what,
                      struct rdisk_error *err);

/* Check a new size: 0, or -EINVAL with a sentence; a smaller one only with
 * @shrink. */
int volume_check_size(const struct volume *volume, uint64_t size, bool shrink,
                      struct rdisk_error *err);

/* "10.0.0.1:4242 and 10.0.0.2:4243"; returns @text. */
char *volume_peers(const struct volume *volume, char *text, size_t size);

#endif
