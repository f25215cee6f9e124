/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/config/volume_section.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include <rdisk/protocol.h>

struct config_volume *config_volume_add(struct config_volume **volumes,
                                        const char *name,
                                        struct rdisk_error *err)
{
    struct config_volume *volume;

    if (rdisk_volume_name_check(name, strlen(name), err) < 0) {
        return NULL;
    }
    while (*volumes) {
        if (strcmp((*volumes)->name, name) == 0) {
            return *volumes;
        }
        volumes = &(*volumes)->next;
    }
    volume = calloc(1, sizeof(*volume));
    if (!volume || !(volume->name = strdup(name))) {
        free(volume);
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'", name);
        return NULL;
    }
    *volumes = volume;
    return volume;
}

static int set_backend(struct config_volume *volume, const char *value,
                       struct rdisk_error *err)
{
    volume->backend = backend_find(value, err);
    return volume->backend
               ? 0
               : rdisk_error_prefix(err, "backend = %s of volume '%s'", value,
                                    volume->name);
}

static int set_path(struct config_volume *volume, const char *value,
                    struct rdisk_error *err)
{
    free(volume->path);
    volume->path = strdup(value);
    return volume->path ? 0
                        : rdisk_error_set(err, -ENOMEM,
                                          "no memory for "
                                          "volume '%s'",
                                          volume->name);
}

static int set_size(struct config_volume *volume, const char *value,
                    struct rdisk_error *err)
{
    int result = size_parse(value, &volume->size);

    if (result < 0) {
        return rdisk_error_set(err, -EINVAL,
                               "size = %s of volume '%s' is "
                               "%s (512…8E bytes, e.g. 10G)",
                               value, volume->name,
                               result == -ERANGE ? "out of range"
                                                 : "not a size");
    }
    return backend_check_size(volume->name, volume->size, err);
}

static int set_read_only(struct config_volume *volume, const char *value,
                         struct rdisk_error *err)
{
    volume->read_only = strcmp(value, "on") == 0;
    if (!volume->read_only && strcmp(value, "off") != 0) {
        return rdisk_error_set(err, -EINVAL,
                               "read-only = %s of volume '%s' "
                               "is neither on nor off",
                               value, volume->name);
    }
    return 0;
}

static int set_identity(struct config_volume *volume, const char *value,
                        struct rdisk_error *err)
{
    if (!value[0]) {
        return rdisk_error_set(err, -EINVAL,
                               "identity = of volume '%s' is empty",
                               volume->name);
    }
    free(volume->identity);
    volume->identity = strdup(value);
    return volume->identity
               ? 0
               : rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                                 volume->name);
}

static int set_polling(struct config_volume *volume, const char *value,
                       struct rdisk_error *err)
{
    char what[RDISK_VOLUME_NAME_MAX + 16];

    snprintf(what, sizeof(what), "volume '%s'", volume->name);
    return backend_parse_polling(&volume->polling, what, value, err);
}

int config_volume_set(struct config_volume *volume, const char *key,
                      const char *value, struct rdisk_error *err)
{
    static const struct {
        const char *name;
        int (*set)(struct config_volume *volume, const char *value,
                   struct rdisk_error *err);
    } keys[] = {
        { "backend", set_backend }, { "path", set_path },
        { "size", set_size },       { "read-only", set_read_only },
        { "io-poll", set_polling }, { "identity", set_identity },
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(keys[i].name, key) != 0) {
            continue;
        }
        if (volume->seen & 1u << i) {
            return rdisk_error_set(err, -EINVAL,
                                   "%s of volume '%s' is given "
                                   "twice",
                                   key, volume->name);
        }
        volume->seen |= 1u << i;
        return keys[i].set(volume, value, err);
    }
    return rdisk_error_set(err, -EINVAL,
                           "a volume has no key '%s' (it has "
                           "backend, path, size, read-only, io-poll and "
                           "identity)",
                           key);
}

int config_volume_parse(struct config_volume **volumes, const char *text,
                        struct rdisk_error *err)
{
    struct config_volume *volume = NULL;
    char *copy = strdup(text);
    char *backend, *argument, *end;
    size_t length;
    int result = -EINVAL;

    if (!copy) {
        return rdisk_error_set(err, -ENOMEM, "no memory for '%s'", text);
    }
    backend = strchr(copy, '=');
    argument = backend ? strchr(backend, ':') : NULL;
    if (!argument) {
        rdisk_error_set(err, -EINVAL,
                        "'%s' is not NAME=file:PATH, NAME=resident:PATH, "
                        "NAME=rbd:POOL/IMAGE, NAME=memory:SIZE or "
                        "NAME=null:SIZE, each optionally followed by "
                        "\",read-only\"",
                        text);
        free(copy);
        return -EINVAL;
    }
    *backend++ = '\0';
    *argument++ = '\0';
    volume = config_volume_add(volumes, copy, err);
    if (volume) {
        /* The command line has all of a volume's options, or none. */
        volume->seen = 0;
        volume->read_only = false;
        volume->polling = BACKEND_POLL_AUTO;
        volume->size = 0;
        free(volume->path);
        volume->path = NULL;
        free(volume->identity);
        volume->identity = NULL;
        length = strlen(argument);
        end = length > 10 ? argument + length - 10 : NULL;
        if (end && strcmp(end, ",read-only") == 0) {
            *end = '\0';
            volume->read_only = true;
        }
        result = set_backend(volume, backend, err);
        if (result == 0) {
            result = volume->backend->has_path
                         ? set_path(volume, argument, err)
                         : set_size(volume, argument, err);
        }
    } else if (err) {
        result = err->code;
    }
    free(copy);
    return result;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool config_volumes_same(const struct config_volume *a,
                         const struct config_volume *b)
{
    while (a && b && same_text(a->name, b->name) && a->backend == b->backend &&
           same_text(a->path, b->path) && a->size == b->size &&
           a->read_only == b->read_only && a->polling == b->polling &&
           same_text(a->identity, b->identity)) {
        a = a->next;
        b = b->next;
    }
    return !a && !b;
}

void config_volume_free(struct config_volume *volumes)
{
    while (volumes) {
        struct config_volume *volume = volumes;

        volumes = volume->next;
        free(volume->name);
        free(volume->path);
        free(volume->identity);
        free(volume);
    }
}
