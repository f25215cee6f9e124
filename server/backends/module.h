/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Backends whose libraries most servers do not need are shared objects, loaded
 * when the configuration first names one. Control thread, before any reactor.
 */
#ifndef RDISK_SERVER_BACKENDS_MODULE_H
#define RDISK_SERVER_BACKENDS_MODULE_H

#include "server/backends/backend.h"

/* What a module exports as rdisk_backend_module. */
struct backend_module {
    const char *version; /* RDISK_VERSION; the contract has no other */
    const struct backend_class *class;
};

extern const struct backend_module rdisk_backend_module;

/* The class in module backend-@name.so, or NULL with @err. It stays loaded. */
const struct backend_class *module_load(const char *name,
                                        struct rdisk_error *err);

#endif
