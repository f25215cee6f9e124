/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/mr.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

static _Atomic uint64_t registered; /* bytes, all of the process's */

static void explain(struct rdisk_error *err, int code, size_t length)
{
    uint64_t already = atomic_load(&registered);
    struct rlimit limit;

    if (code == -ENOMEM && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY) {
        rdisk_error_set(
            err, code,
            "cannot register %zu bytes of memory: RLIMIT_MEMLOCK is %llu "
            "bytes and %llu are registered already; allow at least %llu, or "
            "better any (ulimit -l unlimited, LimitMEMLOCK=infinity)",
            length, (unsigned long long)limit.rlim_cur,
            (unsigned long long)already,
            (unsigned long long)(already + length));
        return;
    }
    rdisk_error_set(err, code, "cannot register %zu bytes of memory: %s",
                    length, strerror(-code));
}

/*
 * Nobody looks at memory that a peer writes before the completion that reports
 * it, and that comes after all that was written: so the writes before it may
 * pass each other on the way from the device to memory. libibverbs leaves the
 * flag out for a kernel without optional flags; a driver may still refuse it.
 */
static struct ibv_mr *register_relaxed(const struct rdisk_verbs *verbs,
                                       struct ibv_pd *pd, void *address,
                                       size_t length, int access)
{
    struct ibv_mr *mr = verbs->reg_mr(pd, address, length,
                                      access | IBV_ACCESS_RELAXED_ORDERING);

    if (!mr && (errno == EINVAL || errno == EOPNOTSUPP)) {
        mr = verbs->reg_mr(pd, address, length, access);
    }
    return mr;
}

static struct ibv_mr *register_counted(const struct rdisk_verbs *verbs,
                                       struct ibv_pd *pd, void *address,
                                       size_t length, int access,
                                       struct rdisk_error *err)
{
    struct ibv_mr *mr = register_relaxed(verbs, pd, address, length, access);

    if (!mr) {
        explain(err, errno ? -errno : -ENOMEM, length);
        return NULL;
    }
    atomic_fetch_add(&registered, mr->length);
    return mr;
}

struct ibv_mr *rdisk_mr_register(const struct rdisk_verbs *verbs,
                                 struct ibv_pd *pd, void *address,
                                 size_t length, int access,
                                 struct rdisk_error *err)
{
    return register_counted(verbs, pd, address, length,
                            access | IBV_ACCESS_LOCAL_WRITE, err);
}

struct ibv_mr *rdisk_mr_register_constant(const struct rdisk_verbs *verbs,
                                          struct ibv_pd *pd,
                                          const void *address, size_t length,
                                          struct rdisk_error *err)
{
    return register_counted(verbs, pd, (void *)(uintptr_t)address, length,
                            IBV_ACCESS_REMOTE_READ, err);
}

void rdisk_mr_deregister(const struct rdisk_verbs *verbs, struct ibv_mr *mr)
{
    if (mr) {
        atomic_fetch_sub(&registered, mr->length);
        verbs->dereg_mr(mr);
    }
}
