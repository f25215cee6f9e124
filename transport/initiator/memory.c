/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/initiator/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/verbs/mr.h"

/*
 * Entries are atomics because readers may read while a writer changes them.
 * They are searched one after the other: a guest has a handful of RAM blocks,
 * and ranges may overlap.
 */
struct entry {
    atomic_uintptr_t start;
    atomic_uintptr_t end;
    atomic_uint lkey;
    atomic_uint rkey;
    _Atomic(struct ibv_mr *) mr;
    unsigned int users; /* writers only */
};

struct rdisk_memory_table {
    struct rdisk_memory_table *next; /* on the list of old ones */
    unsigned int capacity;
    atomic_uint count;
    struct entry entries[];
};

static struct rdisk_memory_table *table_new(unsigned int capacity)
{
    struct rdisk_memory_table *table;

    table = calloc(1, sizeof(*table) + capacity * sizeof(table->entries[0]));
    if (table) {
        table->capacity = capacity;
    }
    return table;
}

int rdisk_memory_init_part(struct rdisk_memory *memory,
                           struct rdisk_memory *whole)
{
    struct rdisk_memory_table *table = table_new(16);

    if (!table) {
        return -ENOMEM;
    }
    memset(memory, 0, sizeof(*memory));
    memory->whole = whole;
    pthread_mutex_init(&memory->lock, NULL);
    atomic_init(&memory->table, table);
    return 0;
}

int rdisk_memory_init(struct rdisk_memory *memory,
                      const struct rdisk_verbs *verbs, struct ibv_pd *pd,
                      int access)
{
    int ret = rdisk_memory_init_part(memory, NULL);

    if (ret == 0) {
        memory->verbs = verbs;
        memory->pd = pd;
        memory->access = access;
    }
    return ret;
}

static void release_range(struct rdisk_memory *memory, uintptr_t start,
                          uintptr_t end, struct ibv_mr *mr)
{
    if (memory->whole) {
        rdisk_memory_remove(memory->whole, (void *)start, end - start);
    } else {
        rdisk_mr_deregister(memory->verbs, mr);
    }
}

void rdisk_memory_destroy(struct rdisk_memory *memory)
{
    struct rdisk_memory_table *table = atomic_load(&memory->table);

    for (unsigned int i = 0; i < atomic_load(&table->count); i++) {
        struct entry *entry = &table->entries[i];

        release_range(memory, atomic_load(&entry->start),
                      atomic_load(&entry->end), atomic_load(&entry->mr));
    }
    free(table);
    while (memory->old) {
        table = memory->old;
        memory->old = table->next;
        free(table);
    }
    pthread_mutex_destroy(&memory->lock);
}

static struct entry *find_exact(struct rdisk_memory_table *table,
                                uintptr_t start, uintptr_t end)
{
    for (unsigned int i = 0; i < atomic_load(&table->count); i++) {
        struct entry *entry = &table->entries[i];

        if (atomic_load(&entry->start) == start &&
            atomic_load(&entry->end) == end) {
            return entry;
        }
    }
    return NULL;
}

static void copy_entry(struct entry *to, struct entry *from)
{
    atomic_store(&to->start, atomic_load(&from->start));
    atomic_store(&to->end, atomic_load(&from->end));
    atomic_store(&to->lkey, atomic_load(&from->lkey));
    atomic_store(&to->rkey, atomic_load(&from->rkey));
    atomic_store(&to->mr, atomic_load(&from->mr));
    to->users = from->users;
}

/* Room for one more entry; tables double, so old ones add up to one new. */
static struct rdisk_memory_table *grow(struct rdisk_memory *memory)
{
    struct rdisk_memory_table *table = atomic_load(&memory->table);
    struct rdisk_memory_table *bigger;
    unsigned int count = atomic_load(&table->count);

    if (count < table->capacity) {
        return table;
    }
    bigger = table_new(table->capacity * 2);
    if (!bigger) {
        return NULL;
    }
    for (unsigned int i = 0; i < count; i++) {
        copy_entry(&bigger->entries[i], &table->entries[i]);
    }
    atomic_store(&bigger->count, count);
    table->next = memory->old;
    memory->old = table;
    atomic_store(&memory->table, bigger);
    return bigger;
}

static int add(struct rdisk_memory *memory, void *address, size_t length,
               struct ibv_mr **mr, struct rdisk_error *err);

/*
 * A registration of the range: of the whole's, or a new one. It takes as long
 * as the memory is large, so no lock is held: other sessions of the device add
 * and remove theirs meanwhile.
 */
static struct ibv_mr *obtain(struct rdisk_memory *memory, void *address,
                             size_t length, struct rdisk_error *err)
{
    struct ibv_mr *mr = NULL;

    if (!memory->whole) {
        return rdisk_mr_register(memory->verbs, memory->pd, address, length,
                                 memory->access, err);
    }
    return add(memory->whole, address, length, &mr, err) == 0 ? mr : NULL;
}

/* Under the lock: one more user of the range, and its @mr. False: unknown. */
static bool use_known(struct rdisk_memory *memory, uintptr_t start,
                      uintptr_t end, struct ibv_mr **mr)
{
    struct entry *entry = find_exact(atomic_load(&memory->table), start, end);

    if (!entry) {
        return false;
    }
    entry->users++;
    *mr = atomic_load(&entry->mr);
    return true;
}

/* Under the lock. False: no memory. */
static bool insert(struct rdisk_memory *memory, uintptr_t start, uintptr_t end,
                   struct ibv_mr *mr)
{
    struct rdisk_memory_table *table;
    struct entry *entry;

    atomic_fetch_add(&memory->sequence, 1);
    table = grow(memory);
    if (table) {
        entry = &table->entries[atomic_load(&table->count)];
        atomic_store(&entry->start, start);
        atomic_store(&entry->end, end);
        atomic_store(&entry->lkey, mr->lkey);
        atomic_store(&entry->rkey, mr->rkey);
        atomic_store(&entry->mr, mr);
        entry->users = 1;
        atomic_fetch_add(&table->count, 1);
    }
    atomic_fetch_add(&memory->sequence, 1);
    return table;
}

static int add(struct rdisk_memory *memory, void *address, size_t length,
               struct ibv_mr **mr, struct rdisk_error *err)
{
    uintptr_t start = (uintptr_t)address, end = start + length;
    struct ibv_mr *obtained;
    struct rdisk_error why;
    bool known, inserted = false;

    pthread_mutex_lock(&memory->lock);
    known = use_known(memory, start, end, mr);
    pthread_mutex_unlock(&memory->lock);
    if (known) {
        return 0;
    }
    obtained = obtain(memory, address, length, &why);
    if (!obtained) {
        if (err) {
            *err = why;
        }
        return why.code;
    }
    pthread_mutex_lock(&memory->lock);
    /* Another thread may have been faster. */
    known = use_known(memory, start, end, mr);
    if (!known) {
        *mr = obtained;
        inserted = insert(memory, start, end, obtained);
    }
    pthread_mutex_unlock(&memory->lock);
    if (inserted) {
        return 0;
    }
    release_range(memory, start, end, obtained);
    return known ? 0 : rdisk_error_set(err, -ENOMEM, "out of memory");
}

int rdisk_memory_add(struct rdisk_memory *memory, void *address, size_t length,
                     struct rdisk_error *err)
{
    struct ibv_mr *mr;

    if (length == 0 || (uintptr_t)address > UINTPTR_MAX - length) {
        return rdisk_error_set(err, -EINVAL,
                               "%zu bytes at %p are not a valid memory range",
                               length, address);
    }
    return add(memory, address, length, &mr, err);
}

void rdisk_memory_remove(struct rdisk_memory *memory, void *address,
                         size_t length)
{
    uintptr_t start = (uintptr_t)address;
    struct rdisk_memory_table *table;
    struct ibv_mr *mr = NULL;
    struct entry *entry;
    bool last_user;

    pthread_mutex_lock(&memory->lock);
    table = atomic_load(&memory->table);
    entry = find_exact(table, start, start + length);
    last_user = entry && --entry->users == 0;
    if (last_user) {
        unsigned int last = atomic_load(&table->count) - 1;

        mr = atomic_load(&entry->mr);
        atomic_fetch_add(&memory->sequence, 1);
        copy_entry(entry, &table->entries[last]);
        atomic_store(&table->count, last);
        atomic_fetch_add(&memory->sequence, 1);
    }
    pthread_mutex_unlock(&memory->lock);
    if (last_user) {
        release_range(memory, start, start + length, mr);
    }
}

static bool search(struct rdisk_memory_table *table, uintptr_t start,
                   uintptr_t end, struct rdisk_memory_hint *hint)
{
    struct rdisk_memory_keys *keys = &hint->keys;
    unsigned int count = atomic_load_explicit(&table->count,
                                              memory_order_acquire);

    for (unsigned int i = 0; i < count; i++) {
        struct entry *entry = &table->entries[i];

        /* Acquire keeps the second read of the sequence behind these. */
        hint->start = atomic_load_explicit(&entry->start, memory_order_acquire);
        hint->end = atomic_load_explicit(&entry->end, memory_order_acquire);
        if (hint->start <= start && hint->end >= end) {
            keys->lkey = atomic_load_explicit(&entry->lkey,
                                              memory_order_acquire);
            keys->rkey = atomic_load_explicit(&entry->rkey,
                                              memory_order_acquire);
            keys->mr = atomic_load_explicit(&entry->mr, memory_order_acquire);
            return true;
        }
    }
    return false;
}

bool rdisk_memory_search(struct rdisk_memory *memory, const void *address,
                         size_t length, struct rdisk_memory_hint *hint)
{
    uintptr_t start = (uintptr_t)address;
    unsigned int before, after;
    bool found;

    do {
        before = atomic_load_explicit(&memory->sequence, memory_order_acquire);
        found = search(atomic_load_explicit(&memory->table,
                                            memory_order_acquire),
                       start, start + length, hint);
        after = atomic_load_explicit(&memory->sequence, memory_order_acquire);
    } while (before != after || (before & 1));
    hint->memory = found ? memory : NULL;
    hint->sequence = before;
    return found;
}
