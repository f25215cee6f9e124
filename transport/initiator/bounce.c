/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/initiator/bounce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "transport/verbs/mr.h"

static_assert(RDISK_BOUNCE_SIZE_MAX / RDISK_BOUNCE_CHUNK < UINT16_MAX,
              "a chunk's index has 16 bits");

static_assert(RDISK_SLOT_SIZE_MAX / RDISK_BOUNCE_CHUNK <= RDISK_SEGMENTS_MIN,
              "the largest request fits any server's segment limit");

int rdisk_bounce_create(struct rdisk_bounce *bounce,
                        const struct rdisk_verbs *verbs, struct ibv_pd *pd,
                        size_t size, struct rdisk_error *err)
{
    int ret;

    memset(bounce, 0, sizeof(*bounce));
    bounce->verbs = verbs;
    bounce->chunks = (unsigned int)(size / RDISK_BOUNCE_CHUNK);
    bounce->next = calloc(bounce->chunks, sizeof(bounce->next[0]));
    bounce->memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!bounce->next || bounce->memory == MAP_FAILED) {
        ret = rdisk_error_set(err, -ENOMEM, "out of memory");
        goto fail;
    }
    /* The guest's data; its owner decides whether that is dumped. */
    madvise(bounce->memory, size, MADV_DONTDUMP);
    bounce->mr = rdisk_mr_register(verbs, pd, bounce->memory, size,
                                   IBV_ACCESS_REMOTE_WRITE, err);
    if (!bounce->mr) {
        ret = -ENOMEM;
        goto fail;
    }
    for (unsigned int i = 0; i < bounce->chunks; i++) {
        bounce->next[i] = (uint16_t)(i + 1);
    }
    bounce->free_count = bounce->chunks;
    return 0;

fail:
    if (bounce->memory != MAP_FAILED) {
        munmap(bounce->memory, size);
    }
    free(bounce->next);
    memset(bounce, 0, sizeof(*bounce));
    return ret;
}

void rdisk_bounce_destroy(struct rdisk_bounce *bounce)
{
    if (!bounce->mr) {
        return;
    }
    rdisk_mr_deregister(bounce->verbs, bounce->mr);
    munmap(bounce->memory, (size_t)bounce->chunks * RDISK_BOUNCE_CHUNK);
    free(bounce->next);
    memset(bounce, 0, sizeof(*bounce));
}

bool rdisk_bounce_acquire(struct rdisk_bounce *bounce, size_t length,
                          uint16_t *first, uint16_t *count)
{
    unsigned int need = (unsigned int)((length + RDISK_BOUNCE_CHUNK - 1) /
                                       RDISK_BOUNCE_CHUNK);

    if (need > bounce->free_count) {
        return false;
    }
    *first = bounce->free_first;
    *count = (uint16_t)need;
    for (unsigned int i = 0; i < need; i++) {
        bounce->free_first = bounce->next[bounce->free_first];
    }
    bounce->free_count -= need;
    return true;
}

void rdisk_bounce_release(struct rdisk_bounce *bounce, uint16_t first,
                          uint16_t count)
{
    uint16_t last = first;

    if (count == 0) {
        return;
    }
    for (unsigned int i = 1; i < count; i++) {
        last = bounce->next[last];
    }
    bounce->next[last] = bounce->free_first;
    bounce->free_first = first;
    bounce->free_count += count;
}

/* Walk iovecs and chunks together; @in: from iovecs into chunks. */
static void copy(struct rdisk_bounce *bounce, uint16_t chunk,
                 const struct iovec *iov, unsigned int iovcnt, bool in)
{
    size_t chunk_at = 0;

    for (unsigned int i = 0; i < iovcnt; i++) {
        uint8_t *user = iov[i].iov_base;
        size_t left = iov[i].iov_len;

        while (left > 0) {
            uint8_t *mine;
            size_t n;

            if (chunk_at == RDISK_BOUNCE_CHUNK) {
                chunk = bounce->next[chunk];
                chunk_at = 0;
            }
            mine = (uint8_t *)rdisk_bounce_chunk(bounce, chunk) + chunk_at;
            n = RDISK_BOUNCE_CHUNK - chunk_at < left
                    ? RDISK_BOUNCE_CHUNK - chunk_at
                    : left;
            memcpy(in ? mine : user, in ? user : mine, n);
            user += n;
            left -= n;
            chunk_at += n;
        }
    }
}

void rdisk_bounce_copy_in(struct rdisk_bounce *bounce, uint16_t first,
                          const struct iovec *iov, unsigned int iovcnt)
{
    copy(bounce, first, iov, iovcnt, true);
}

void rdisk_bounce_copy_out(struct rdisk_bounce *bounce, uint16_t first,
                           const struct iovec *iov, unsigned int iovcnt)
{
    copy(bounce, first, iov, iovcnt, false);
}
