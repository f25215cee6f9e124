/* SPDX-License-Identifier: BSD-3-Clause */
/* A backend on a real reactor, and what every one that keeps bytes promises. */
#ifndef RDISK_UNIT_RIG_H
#define RDISK_UNIT_RIG_H

#include <semaphore.h>

#include "server/backends/backend.h"

#define RIG_MEMORY (1u << 20)
#define RIG_VOLUME (4u << 20)
#define RIG_MANY   200

/* A backend on a reactor, with memory as a queue's slots would be. */
struct rig {
    struct reactor *reactor;
    struct backend *backend;
    const struct backend_class *class; /* of one that is shut */
    struct backend_context *context;
    bool poll; /* whatever its disk allows */
    char path[64];
    char *memory;
    int buffer[RING_KINDS];
    unsigned int succeeded; /* of the last rig_submit() */
    struct rdisk_error err;
};

/* Runs @fn in the reactor's thread, and waits for its @done. */
struct rig_job {
    struct message message;
    struct rig *rig;
    void (*fn)(struct rig_job *job);
    sem_t done;
    struct backend_io *io;
    unsigned int count, left;
    int result;
};

/* Run @fn in the reactor's thread, until it or what it began posts @done. */
void rig_do(struct rig *rig, struct rig_job *job,
            void (*fn)(struct rig_job *job));

void rig_open(struct rig *rig, const struct backend_class *class,
              struct backend_spec *spec);
/* A file of RIG_VOLUME bytes in @folder. */
void rig_open_file(struct rig *rig, const char *folder, bool read_only);
/* The same, as on a file system without O_DIRECT. */
void rig_open_buffered(struct rig *rig, const char *folder);
/* A file through the polled ring. Where the disk has no queues for that, the
 * kernel finds what its interrupts have completed. */
void rig_open_polled(struct rig *rig, const char *folder);
void rig_close(struct rig *rig);

/* Another reactor on @backend, whose rig has to outlast this one. */
void rig_join(struct rig *rig, struct backend *backend);
void rig_leave(struct rig *rig);
/* The last client goes, and one comes. */
void rig_rejoin(struct rig *rig);
/* The last client goes, and the instance with it; until there is another
 * one. */
void rig_shut(struct rig *rig);
void rig_reopen(struct rig *rig, const struct backend_spec *spec);

/* The initializer of a request's buffers. */
#define RIG_BUFFER(rig) \
    { \
        (rig)->buffer[0], (rig)->buffer[1] \
    }

/* All of @io at once; returns 0 or a negative errno of one that failed. */
int rig_submit(struct rig *rig, struct backend_io *io, unsigned int count);
/* What ends it: pushed with the job. */
void rig_io_done(struct backend_io *io, int result, void *opaque);
/* One request, from and to rig->memory. */
int rig_io(struct rig *rig, enum rdisk_op op, unsigned int flags,
           uint64_t offset, uint32_t length);

/* What byte @i of block @block is to be in @round. */
char rig_pattern(unsigned int block, unsigned int i, unsigned int round);
/* What was written is read, in all sizes, */
void rig_check_keeps(struct rig *rig);
/* and RIG_MANY at once, in one turn of the reactor. */
void rig_check_many(struct rig *rig);
/* Zeroes read as zeroes, and what is beside them stays. */
void rig_check_ranges(struct rig *rig);

/*
 * The reactor does nothing for a fifth of a second. What it is still about to
 * do may take a while beside other programs; what it does again and again is in
 * each of some tries.
 */
void rig_check_idle(struct reactor *reactor);

#endif
