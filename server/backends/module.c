/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/backends/module.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Beside the program that runs, as it is built; or where it is installed. */
static void find(const char *name, char path[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 64);

    if (length > 0) {
        path[length] = '\0';
        snprintf(strrchr(path, '/') + 1, 64, "backend-%.32s.so", name);
        if (access(path, R_OK) == 0) {
            return;
        }
    }
    snprintf(path, PATH_MAX, RDISK_MODULES "/backend-%.32s.so", name);
}

const struct backend_class *module_load(const char *name,
                                        struct rdisk_error *err)
{
    const struct backend_module *module;
    char path[PATH_MAX];
    void *object;

    find(name, path);
    object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        rdisk_error_set(err, -ENOENT,
                        "backend %s is not installed (Debian's package "
                        "rdiskd-%s): %s",
                        name, name, dlerror());
        return NULL;
    }
    module = dlsym(object, "rdisk_backend_module");
    if (!module || strcmp(module->version, RDISK_VERSION) != 0) {
        rdisk_error_set(err, -EINVAL,
                        "'%s' is of version %s, and this server of version %s: "
                        "install the same of both",
                        path, module ? module->version : "unknown",
                        RDISK_VERSION);
        dlclose(object);
        return NULL;
    }
    return module->class;
}
