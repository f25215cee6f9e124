/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may write a volume while its writers are disconnected.
 *
 * A volume's writers hold its lease, one alone or several that share it. Each
 * lease has a generation: it grows by one whenever the volume gets a writer
 * that is neither one of them nor shares with them, and is recorded, under the
 * volume's identity, before that writer's OPEN is answered. A client that
 * reconnects sends the generation that it was granted; if the volume has
 * another one by now, another client has had it meanwhile, and it is refused
 * permanently.
 *
 * While writers are connected, volume.h refuses others. Control thread.
 */
#ifndef RDISK_SERVER_VOLUME_LEASE_H
#define RDISK_SERVER_VOLUME_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include <rdisk/error.h>
#include <rdisk/protocol.h>

struct volume_holder;

/* What outlives the server. */
struct lease_record {
    char volume[RDISK_VOLUME_NAME_MAX + 1]; /* its name then, for messages */
    uint64_t generation;                    /* 0: there was no writer yet */
    uint8_t client[16]; /* the last writer; zero: fenced by an administrator */
    char peer[64];      /* its address, for messages */
    bool held;          /* a writer has not released it */
    bool shared;
    /* When the volume's data changed last, ns of its file's mtime, as of the
     * moment in which the last writer left; 0: not known. */
    uint64_t changed;
    /* Where several servers have the record: which process granted it, and the
     * epoch of the client then, 0 if several share it; else zero. */
    uint8_t owner[RDISK_ID_SIZE];
    uint64_t epoch;
};

/* Where records are kept: records.h, shared_records.h, or a test's. */
struct lease_store {
    /* 0; -ENOENT: there is none; else a sentence in @err. */
    int (*load)(void *opaque, const uint8_t *identity,
                struct lease_record *record, struct rdisk_error *err);
    /*
     * @before: what @record replaces, as far as this server knows. -EBUSY, and
     * nothing is written, if a later one is stored, or one of an owner that is
     * neither's: another server has granted the volume. On stable storage when
     * it returns 0; after an error either of the two may be.
     */
    int (*save)(void *opaque, const uint8_t *identity,
                const struct lease_record *before,
                const struct lease_record *record, struct rdisk_error *err);
    /* The volume was deleted. */
    void (*remove)(void *opaque, const uint8_t *identity);
    void *opaque;
    const uint8_t *owner; /* this process, among the servers that have these
                             records; NULL: no other has */
};

struct lease {
    uint8_t identity[RDISK_ID_SIZE];      /* of the volume */
    char name[RDISK_VOLUME_NAME_MAX + 1]; /* its name now */
    const struct lease_store *store; /* NULL: the lease ends with the server */
    struct lease_record record;
    unsigned int writers; /* connected */
    uint64_t lease_time;  /* ns */
    uint64_t kept_until;  /* for a disconnected client; rdisk_now() */
    bool compared;        /* with its record, since the server started */
    bool unsaved;         /* its last writer has released it, and the stored
                             record does not have that yet */
    struct lease *next;   /* of the pool's list */
};

/* Read its record; @record is all zero if there is none. Storage only. 0 or a
 * negative errno with @err. */
int lease_read(const struct lease_store *store, const uint8_t *identity,
               struct lease_record *record, struct rdisk_error *err);
/*
 * Compare the lease with its record, which is authoritative: another server may
 * have granted the volume since. To be called before each decision about a
 * writer. If the record differs, a writer that has not released the volume has
 * until @since + @lease_time to reconnect; those that are connected with an
 * older generation may not write any more (volume_check()). A record that was
 * read before the last writer's release is saved changes nothing.
 */
void lease_compare(struct lease *lease, const struct lease_record *record,
                   uint64_t since);

/* STALE if another client has had the lease since @wanted's generation, else
 * OK. */
enum rdisk_status lease_check_generation(const struct lease *lease,
                                         const struct volume_holder *wanted,
                                         struct rdisk_error *err);
/* BUSY if the lease is kept for another, disconnected client, else OK. */
enum rdisk_status lease_check_kept(const struct lease *lease,
                                   const struct volume_holder *wanted,
                                   uint64_t now, struct rdisk_error *err);

/*
 * After both checks: true if @wanted is who writes it by the record, which
 * another server has granted. Then that one is to be fenced.
 */
bool lease_moves(const struct lease *lease, const struct volume_holder *wanted);
/* True if another server has granted it since this one did. */
bool lease_is_elsewhere(const struct lease *lease);

/*
 * Write @record in the place of the lease's. 0, or a negative errno with @err:
 * -EBUSY if the stored one is later. Storage only.
 */
int lease_save(const struct lease *lease, const struct lease_record *record,
               struct rdisk_error *err);

/*
 * After both checks: the record with which @holder has it. True if that has to
 * be saved before lease_grant(); nothing else may change the lease in between.
 */
bool lease_plan(const struct lease *lease, const struct volume_holder *holder,
                struct lease_record *record);
/* @holder has it, and gets its generation. */
void lease_grant(struct lease *lease, struct volume_holder *holder,
                 const struct lease_record *record);
/*
 * @orderly: it does not reconnect. True if it was the last writer: then the
 * lease's record is to be saved. If that fails, others wait for lease-time
 * when it is read again.
 */
bool lease_release(struct lease *lease, const struct volume_holder *holder,
                   bool orderly, uint64_t now);

/* That record has been saved, or could not be. */
void lease_settled(struct lease *lease);

/*
 * The record with which no earlier writer can reconnect. It is to be saved
 * before lease_fenced(); the lease may get no writer in between.
 */
void lease_plan_fence(const struct lease *lease, struct lease_record *record);
void lease_fenced(struct lease *lease, const struct lease_record *record);

/* Seconds that it is still kept for a disconnected client; 0: it is not. */
uint64_t lease_seconds_kept(const struct lease *lease, uint64_t now);

#endif
