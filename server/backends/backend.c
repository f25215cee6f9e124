/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/backends/backend.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "server/backends/module.h"

static const struct backend_class *const classes[] = {
    &backend_file,
    &backend_memory,
    &backend_null,
    &backend_resident,
};

/* Those that are built as modules. */
static const char *const modules[] = { "rbd" };

const struct backend_class *backend_find(const char *name,
                                         struct rdisk_error *err)
{
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (strcmp(classes[i]->name, name) == 0) {
            return classes[i];
        }
    }
    for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
        if (strcmp(modules[i], name) == 0) {
            return module_load(name, err);
        }
    }
    rdisk_error_set(err, -EINVAL, "'%s' is not one of: %s", name,
                    backend_names());
    return NULL;
}

const char *backend_names(void)
{
    return "file, memory, null, resident, rbd";
}

void backend_cache(const struct backend *backend, uint8_t cache[RDISK_ID_SIZE])
{
    uint32_t losses;

    memcpy(cache, backend->cache, RDISK_ID_SIZE);
    if (backend->losses) {
        losses = htole32(atomic_load(backend->losses));
        for (size_t i = 0; i < sizeof(losses); i++) {
            cache[i] ^= ((const uint8_t *)&losses)[i];
        }
    }
}

bool backend_has_lost(const struct backend *backend)
{
    return backend->lost && atomic_load(backend->lost);
}

unsigned int backend_losses(const struct backend *backend)
{
    return backend->losses ? atomic_load(backend->losses) : 0;
}

int backend_parse_polling(enum backend_polling *polling, const char *what,
                          const char *value, struct rdisk_error *err)
{
    static const char *const names[] = {
        [BACKEND_POLL_AUTO] = "auto",
        [BACKEND_POLL_ON] = "on",
        [BACKEND_POLL_OFF] = "off",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], value) == 0) {
            *polling = i;
            return 0;
        }
    }
    return rdisk_error_set(err, -EINVAL,
                           "io-poll = %s of %s is not one of auto, "
                           "on and off",
                           value, what);
}

int backend_not_polled(const struct backend_spec *spec, const char *why,
                       struct rdisk_error *err)
{
    if (spec->polling != BACKEND_POLL_ON) {
        return 0;
    }
    return rdisk_error_set(err, -ENOTSUP,
                           "volume '%s' has io-poll = on, but "
                           "%s",
                           spec->volume, why);
}

int backend_check_size(const char *volume, uint64_t size,
                       struct rdisk_error *err)
{
    if (size == 0) {
        return rdisk_error_set(err, -EINVAL,
                               "volume '%s' is empty: its size "
                               "must be 512 bytes or more",
                               volume);
    }
    if (size % RDISK_BLOCK_SIZE_MIN) {
        return rdisk_error_set(err, -EINVAL,
                               "the size of volume '%s', "
                               "%" PRIu64 " bytes, is not a multiple of 512; "
                               "round it up to %" PRIu64,
                               volume, size, size + 512 - size % 512);
    }
    if (size > INT64_MAX) {
        return rdisk_error_set(err, -EFBIG,
                               "the size of volume '%s', "
                               "%" PRIu64
                               " bytes, is more than a file can hold",
                               volume, size);
    }
    return 0;
}

int backend_check_resize(const struct backend *backend, const char *volume,
                         uint64_t size, struct rdisk_error *err)
{
    if (backend_check_size(volume, size, err) < 0) {
        return -EINVAL;
    }
    if (backend->geometry.read_only) {
        return rdisk_error_set(err, -EROFS,
                               "cannot resize volume '%s': it is "
                               "read-only",
                               volume);
    }
    if (!backend->class->resize) {
        return rdisk_error_set(
            err, -ENOTSUP,
            "cannot resize volume '%s': backend %s does not support it", volume,
            backend->class->name);
    }
    return 0;
}
