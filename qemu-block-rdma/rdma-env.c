/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What librdisk needs of the system, for the block driver "rdma": its log goes
 * to QEMU's
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "trace/trace-block.h"

#include "rdma.h"

/* Called by librdisk from any thread */
static void rdma_log(void *opaque, enum rdisk_log_level level, const char *line)
{
    switch (level) {
    case RDISK_LOG_ERROR:
        error_report("rdma: %s", line);
        break;
    case RDISK_LOG_WARNING:
        warn_report("rdma: %s", line);
        break;
    default:
        trace_rdma_log(line);
        break;
    }
}

const struct rdisk_env *rdma_env(void)
{
    static struct rdisk_env env;
    static gsize once;

    /* Volumes are created in worker threads */
    if (g_once_init_enter(&once)) {
        env = rdisk_env_system;
        env.log = rdma_log;
        g_once_init_leave(&once, 1);
    }
    return &env;
}
