/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the storage that this server shares with others answers it.
 *
 * A server that is cut off from a Ceph cluster still answers its clients'
 * PINGs, so that they wait for their requests, though the next server of their
 * lists might carry them out. So while clients with several servers have
 * volumes of the pool, the pool is read several times in the cut-off time. If
 * that is not answered, its monitors are asked, too: a cluster that only lacks
 * an OSD would be no better at another server. If they do not answer either,
 * these sessions are ended, and volumes of the pool are not opened until
 * something answers.
 *
 * That is for availability only: who may write is decided where the volume is
 * opened next.
 *
 * Control thread.
 */
#ifndef RDISK_SERVER_SESSION_STORE_WATCH_H
#define RDISK_SERVER_SESSION_STORE_WATCH_H

#include <stdatomic.h>

#include "server/io/jobs.h"

struct server;

/* A call that waits for the storage. */
struct store_probe {
    struct job job;
    struct server *server;
    bool running;
    atomic_bool begun; /* a thread has it */
    uint64_t since;    /* it runs, or was last tried to */
    int result;
};

/* All zero at first. */
struct store_watch {
    struct store_probe read; /* the pool */
    struct store_probe ping; /* its monitors */
    bool watching;           /* there are such clients */
    uint64_t answered;       /* the last time, since then */
    bool cut;                /* nothing answers */
};

/* A client can open no volume of the pool, with why in @err. */
bool store_watch_is_cut(const struct server *server, const char *volume,
                        struct rdisk_error *err);
/* A call has not ended yet. */
bool store_watch_is_busy(const struct server *server);

/* When to call store_watch_check_time() at the latest; RDISK_NEVER. */
uint64_t store_watch_deadline(const struct server *server);
void store_watch_check_time(struct server *server, uint64_t now);

#endif
