/* SPDX-License-Identifier: BSD-3-Clause */
/* A page of the list of volumes: the first few after a name, in their order. */
#ifndef RDISK_SERVER_VOLUME_POOL_PAGE_H
#define RDISK_SERVER_VOLUME_POOL_PAGE_H

#include "server/volume/pool.h"

struct pool_page {
    char after[RDISK_VOLUME_NAME_MAX + 1]; /* "": from the first one on */
    /* True if the volume may be listed, and *@read_only is set. Any thread. */
    bool (*wanted)(void *opaque, const char *name, bool *read_only);
    void *opaque;
    /* Ascending. One more than a message has shows that there are more. */
    struct rdisk_list_entry entries[RDISK_LIST_MAX + 1];
    unsigned int count;
};

/*
 * Enter the files, or images, of the pool. The directory is read whole, and
 * memory needed for the page only, however many there are. Storage only. 0 or a
 * negative errno with @err filled.
 */
int pool_page_read(const struct pool *pool, struct pool_page *page,
                   struct rdisk_error *err);
/* Enter those with a section in the configuration, each instead of a file of
 * its name. Control thread. */
void pool_page_configured(const struct pool *pool, struct pool_page *page);

#endif
