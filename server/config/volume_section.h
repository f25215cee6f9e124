/* SPDX-License-Identifier: BSD-3-Clause */
/* The volumes that the configuration names, each with what serves it. */
#ifndef RDISK_SERVER_CONFIG_VOLUME_SECTION_H
#define RDISK_SERVER_CONFIG_VOLUME_SECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "server/backends/backend.h"

/* A [volume NAME] section, or --volume NAME=… */
struct config_volume {
    struct config_volume *next;
    char *name;
    const struct backend_class *backend; /* NULL: not set */
    char *path;                          /* NULL: none */
    uint64_t size;                       /* bytes; 0: not set */
    bool read_only;
    enum backend_polling polling;
    char *identity;    /* NULL: to be found out */
    unsigned int seen; /* keys given, bit by bit */
};

/* The volume @name of @volumes, made if there is none yet. NULL: @err. */
struct config_volume *config_volume_add(struct config_volume **volumes,
                                        const char *name,
                                        struct rdisk_error *err);
/* One key of its section. */
int config_volume_set(struct config_volume *volume, const char *key,
                      const char *value, struct rdisk_error *err);
/* From the command line: "NAME=memory:64M", "NAME=file:/dev/sdb,read-only" */
int config_volume_parse(struct config_volume **volumes, const char *text,
                        struct rdisk_error *err);
/* True if both have the same volumes, in the same order. */
bool config_volumes_same(const struct config_volume *a,
                         const struct config_volume *b);
void config_volume_free(struct config_volume *volumes);

#endif
