/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/allocation.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FOREIGN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FOREIGN 1
#endif
#endif

#ifdef FOREIGN

bool unit_allocation_fails(bool fails)
{
    return false;
}

#else

static __thread bool failing;
static atomic_bool ours; /* the one below is in use */

/* glibc's own, beneath the name that programs may take. */
void *__libc_malloc(size_t size);
void *malloc(size_t size);

void *malloc(size_t size)
{
    ours = true;
    if (failing) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

bool unit_allocation_fails(bool fails)
{
    failing = fails;
    return ours;
}

#endif
