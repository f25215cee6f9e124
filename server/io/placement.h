/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where on the machine the server runs: near its NIC. Memory that crosses to
 * another NUMA node, or a reactor that sits on one, costs every request.
 */
#ifndef RDISK_SERVER_IO_PLACEMENT_H
#define RDISK_SERVER_IO_PLACEMENT_H

#include <stdint.h>

#include <rdisk/error.h>
#include <rdisk/target.h>

#define PLACEMENT_CORES_MAX 256

struct placement {
    /* RDMA device that is listened on, e.g. "rxe0"; "": any, or not known */
    char device[RDISK_DEVICE_NAME];
    int node;           /* its NUMA node; -1: not known, or only one */
    unsigned int cores; /* reactors */
    int core[PLACEMENT_CORES_MAX]; /* the core of each */
};

/*
 * Choose @cores cores (0: up to 2) of the node of placement.device ("": the
 * machine's first device) out of those this process may use, or exactly those
 * of @core_list if that is not empty. Returns 0 or -EINVAL with a sentence.
 */
int placement_choose(struct placement *placement, unsigned int cores,
                     const char *core_list, struct rdisk_error *err);
/* Memory of this thread, and of those it starts, from the NIC's node. */
void placement_apply(const struct placement *placement);

/* Raise RLIMIT_NOFILE and RLIMIT_MEMLOCK as far as allowed; log a warning if
 * @need bytes of slots cannot be locked. Returns how many bytes can, UINT64_MAX
 * for any number. */
uint64_t placement_raise_limits(uint64_t need);

#endif
