/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into a program: counts the locks that the program itself takes, not
 * those of its libraries, and writes the number into the file that $LOCKS names
 * when it ends.
 */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_ullong locks;
static uintptr_t first, last; /* the program's own addresses */

/* The program is the first of the list. */
static int note_program(struct dl_phdr_info *info, size_t size, void *opaque)
{
    for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];

        if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
            first = info->dlpi_addr + part->p_vaddr;
            last = first + part->p_memsz;
        }
    }
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    dl_iterate_phdr(note_program, NULL);
}

static void count(const void *caller)
{
    if ((uintptr_t)caller >= first && (uintptr_t)caller < last) {
        locks++;
    }
}

#define LOCK(name, type) \
    int name(type *lock) \
    { \
        static int (*real)(type * lock); \
\
        if (!real) { \
            real = (int (*)(type *))dlsym(RTLD_NEXT, #name); \
        } \
        count(__builtin_return_address(0)); \
        return real(lock); \
    }

LOCK(pthread_mutex_lock, pthread_mutex_t)
LOCK(pthread_mutex_trylock, pthread_mutex_t)
LOCK(pthread_spin_lock, pthread_spinlock_t)
LOCK(pthread_spin_trylock, pthread_spinlock_t)
LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("LOCKS");
    FILE *file = path ? fopen(path, "w") : NULL;

    if (file) {
        fprintf(file, "%llu\n", locks);
        fclose(file);
    }
}
