/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/io/placement.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <numa.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/log.h"
#include "common/size.h"

#define DEFAULT_CORES 2

/* ---- The device ------------------------------------------------------- */

static bool read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    bool ok = file && fgets(line, size, file);

    if (file) {
        fclose(file);
    }
    if (ok) {
        line[strcspn(line, "\n")] = '\0';
    }
    return ok;
}

/* Any will do: the machine's first. */
static void find_device(char *device, size_t size)
{
    static const char root[] = "/sys/class/infiniband/";
    glob_t found;

    if (glob("/sys/class/infiniband/*", 0, NULL, &found) == 0) {
        snprintf(device, size, "%s", found.gl_pathv[0] + sizeof(root) - 1);
        globfree(&found);
    }
}

static int find_node(const char *device)
{
    char path[160], line[16];

    if (!device[0] || numa_available() < 0) {
        return -1;
    }
    snprintf(path, sizeof(path), "/sys/class/infiniband/%s/device/numa_node",
             device);
    /* A software device has no such file; -1: all nodes are as near. */
    return read_line(path, line, sizeof(line)) ? atoi(line) : -1;
}

/* ---- Cores ------------------------------------------------------------ */

static bool core_on_node(int core, int node)
{
    return node < 0 || numa_node_of_cpu(core) == node;
}

/* Up to @wanted of the cores this process may use, on @node. */
static void choose_cores(struct placement *placement, unsigned int wanted,
                         int node)
{
    cpu_set_t allowed;

    placement->cores = 0;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0) {
        return;
    }
    for (int core = 0; core < CPU_SETSIZE && placement->cores < wanted;
         core++) {
        if (CPU_ISSET(core, &allowed) && core_on_node(core, node)) {
            placement->core[placement->cores++] = core;
        }
    }
}

static int parse_core_list(struct placement *placement, const char *list,
                           struct rdisk_error *err)
{
    const char *text = list;
    cpu_set_t allowed;

    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof(allowed), &allowed);
    placement->cores = 0;
    do {
        int first, last, length = 0;

        if (sscanf(text, "%d%n", &first, &length) != 1 || first < 0) {
            break;
        }
        text += length;
        last = first;
        if (*text == '-' && sscanf(text, "-%d%n", &last, &length) == 1) {
            text += length;
        }
        if (last < first || last >= CPU_SETSIZE) {
            return rdisk_error_set(err, -EINVAL,
                                   "core-list = %s: %d-%d is not a "
                                   "range of cores",
                                   list, first, last);
        }
        for (int core = first; core <= last; core++) {
            if (!CPU_ISSET(core, &allowed)) {
                return rdisk_error_set(err, -EINVAL,
                                       "core-list = %s: core %d "
                                       "does not exist or is not allowed to "
                                       "this process",
                                       list, core);
            }
            if (placement->cores == PLACEMENT_CORES_MAX) {
                return rdisk_error_set(err, -EINVAL,
                                       "core-list = %s: more "
                                       "than %d cores",
                                       list, PLACEMENT_CORES_MAX);
            }
            placement->core[placement->cores++] = core;
        }
    } while (*text++ == ',');
    if (placement->cores == 0 || text[-1] != '\0') {
        return rdisk_error_set(err, -EINVAL,
                               "core-list = %s is not a list of "
                               "cores such as 0-3,8",
                               list);
    }
    return 0;
}

int placement_choose(struct placement *placement, unsigned int cores,
                     const char *core_list, struct rdisk_error *err)
{
    unsigned int wanted = cores ? cores : DEFAULT_CORES;

    if (!placement->device[0]) {
        find_device(placement->device, sizeof(placement->device));
    }
    placement->node = find_node(placement->device);
    if (core_list[0]) {
        return parse_core_list(placement, core_list, err);
    }
    if (wanted > PLACEMENT_CORES_MAX) {
        wanted = PLACEMENT_CORES_MAX;
    }
    choose_cores(placement, wanted, placement->node);
    if (placement->cores < wanted && (cores || !placement->cores)) {
        /* The configured number is more than the node has. */
        choose_cores(placement, wanted, -1);
    }
    if (placement->cores < cores || placement->cores == 0) {
        return rdisk_error_set(err, -EINVAL,
                               "cores = %u: this process may "
                               "use only %u",
                               cores, placement->cores);
    }
    return 0;
}

void placement_apply(const struct placement *placement)
{
    if (placement->node >= 0) {
        numa_set_preferred(placement->node);
    }
}

/* ---- Limits ----------------------------------------------------------- */

/* As far as this process may; returns what it is then. */
static rlim_t raise_limit(int resource)
{
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

    /* The hard limit moves with CAP_SYS_RESOURCE only. */
    if (resource == RLIMIT_MEMLOCK && setrlimit(resource, &limit) == 0) {
        return RLIM_INFINITY;
    }
    if (getrlimit(resource, &limit) < 0) {
        return 0;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(resource, &limit);
    getrlimit(resource, &limit);
    return limit.rlim_cur;
}

/* Those who may lock memory are not held to the limit. */
static bool may_lock(void)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    return syscall(SYS_capget, &header, data) == 0 &&
           (data[0].effective & 1u << CAP_IPC_LOCK);
}

uint64_t placement_raise_limits(uint64_t need)
{
    char have[SIZE_TEXT], want[SIZE_TEXT];
    rlim_t limit;

    /* Each queue takes a few descriptors. */
    raise_limit(RLIMIT_NOFILE);
    limit = raise_limit(RLIMIT_MEMLOCK);
    if (limit == RLIM_INFINITY || may_lock()) {
        return UINT64_MAX;
    }
    if (limit >= need) {
        return limit;
    }
    log_warning("only %s of memory may be locked (RLIMIT_MEMLOCK), but slots "
                "may take %s (max-memory): sessions beyond that will be "
                "refused; set LimitMEMLOCK=infinity in the unit, or ulimit -l "
                "unlimited before the start",
                size_format(limit, have, sizeof(have)),
                size_format(need, want, sizeof(want)));
    return limit;
}
