/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where on the machine the server runs: near its NIC. Memory that crosses to
 * another NUMA node, or a reactor that sits on one, costs every request.
 */
#ifndef RDISK_SERVER_IO_PLACEMENT_H
#define RDISK_SERVER_IO_PLACEMENT_H

#include <stdint.h>

#include <rdisk/error.h>

#define PLACEMENT_CORES_MAX 256

struct placement {
    char device[64];    /* RDMA device, e.g. "rxe0"; "": not known */
    int node;           /* its NUMA node; -1: not known, or only one */
    unsigned int cores; /* reactors */
    int core[PLACEMENT_CORES_MAX]; /* the core of each */
};

/*
 * Find the RDMA device that has @address ("": any device will do) and choose
 * @cores cores (0: up to 2) of its node out of those this process may use, or
 * take exactly those of @core_list if that is not empty. Returns 0 or -EINVAL
 * with a sentence.
 */
int placement_choose(struct placement *placement, const char *address,
                     unsigned int cores, const char *core_list,
                     struct rdisk_error *err);
/* Memory of this thread, and of those it starts, from the NIC's node. */
void placement_apply(const struct placement *placement);

/* Raise RLIMIT_NOFILE and RLIMIT_MEMLOCK as far as allowed; say so if @need
 * bytes of slots cannot be locked. */
void placement_raise_limits(uint64_t need);

#endif
