/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into tgtd where the kernel has no huge pages: its pool of buffers
 * insists on them, and a user-mode kernel has none.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <sys/shm.h>

int shmget(key_t key, size_t size, int flags)
{
    int (*real)(key_t, size_t, int);

    *(void **)&real = dlsym(RTLD_NEXT, "shmget");
    return real(key, size, flags & ~SHM_HUGETLB);
}
