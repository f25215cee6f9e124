/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a volume takes up in its storage, what of other volumes it needs, and
 * what its snapshots take up: an operation on its name. Control thread.
 */
#ifndef RDISK_SERVER_SESSION_USAGE_H
#define RDISK_SERVER_SESSION_USAGE_H

#include "server/volume/volume_operation.h"

/* All zero but for what comes first. */
struct usage {
    struct volume_operation work; /* first; its pool and name; late() if
                                     wanted */
    /* It has ended, with work.result, and work.why if that is negative. @usage
     * may be freed. */
    void (*done)(struct usage *usage);

    /* Of its success. */
    uint64_t allocated;              /* bytes */
    char parent[BACKEND_PARENT_MAX]; /* "": none */
    unsigned int snapshots;          /* that it has */
    uint64_t held;                   /* bytes that these take up together */
    bool overlaps;                   /* what they share is in each of them */
};

void usage_start(struct operations *operations, struct usage *usage);

#endif
