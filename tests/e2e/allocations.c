/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into a program: counts its allocations, by whichever library, and
 * writes the number into the file that $ALLOCATIONS names when it ends.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* glibc's own, behind the names that this file takes. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static atomic_ullong own;
/* The bench's probe puts it where others can look at it. */
extern atomic_ullong *allocations;
atomic_ullong *allocations = &own;

void *malloc(size_t size)
{
    (*allocations)++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    (*allocations)++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    (*allocations)++;
    return __libc_realloc(old, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    (*allocations)++;
    *memory = __libc_memalign(alignment, size);
    return *memory ? 0 : ENOMEM;
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("ALLOCATIONS");
    FILE *file = path ? fopen(path, "w") : NULL;

    if (file) {
        fprintf(file, "%llu\n", *allocations);
        fclose(file);
    }
}
