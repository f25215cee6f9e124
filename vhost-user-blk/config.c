/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/ini.h"
#include "common/listen_address.h"
#include "common/log.h"
#include "common/number.h"

#define BLANKS " \t"

int vhost_config_init(struct vhost_config *config)
{
    *config = (struct vhost_config) {
        .control = strdup(VHOST_CONFIG_DEFAULT_CONTROL),
        .metrics = strdup(""),
        .reactors = 1,
        .poll_time = 32,
        .log_level = RDISK_LOG_INFO,
    };
    return config->control && config->metrics ? 0 : -ENOMEM;
}

void vhost_config_free(struct vhost_config *config)
{
    for (unsigned int i = 0; i < config->disk_count; i++) {
        disk_options_free(&config->disks[i]);
    }
    free(config->disks);
    free(config->control);
    free(config->metrics);
}

/* ---- [daemon] --------------------------------------------------------- */

static int set_text(char **where, const char *name, const char *value,
                    struct rdisk_error *err)
{
    char *copy = strdup(value);

    if (!copy) {
        return rdisk_error_set(err, -ENOMEM, "no memory for %s", name);
    }
    free(*where);
    *where = copy;
    return 0;
}

static int set_control(struct vhost_config *config, const char *name,
                       const char *value, struct rdisk_error *err)
{
    return set_text(&config->control, name, value, err);
}

static int set_metrics(struct vhost_config *config, const char *name,
                       const char *value, struct rdisk_error *err)
{
    struct listen_address address;

    return listen_address_parse(value, &address, err) < 0
               ? rdisk_error_prefix(err, "%s", name)
               : set_text(&config->metrics, name, value, err);
}

static int set_reactors(struct vhost_config *config, const char *name,
                        const char *value, struct rdisk_error *err)
{
    uint64_t number = config->reactors;
    int ret = number_set(name, value, 10, 1, VHOST_CONFIG_REACTORS_MAX, &number,
                         err);

    config->reactors = (unsigned int)number;
    return ret;
}

static int set_poll_time(struct vhost_config *config, const char *name,
                         const char *value, struct rdisk_error *err)
{
    uint64_t number = config->poll_time;
    int ret = number_set(name, value, 10, 0, VHOST_CONFIG_POLL_TIME_MAX,
                         &number, err);

    config->poll_time = (unsigned int)number;
    return ret;
}

static int set_log_level(struct vhost_config *config, const char *name,
                         const char *value, struct rdisk_error *err)
{
    return log_level_parse(value, &config->log_level) < 0
               ? rdisk_error_set(err, -EINVAL,
                                 "%s = %.40s is not one of error, warning, "
                                 "info, debug",
                                 name, value)
               : 0;
}

static const struct option {
    const char *name;
    int (*set)(struct vhost_config *config, const char *name, const char *value,
               struct rdisk_error *err);
} options[] = {
    { "control", set_control },     { "metrics", set_metrics },
    { "reactors", set_reactors },   { "poll-time", set_poll_time },
    { "log-level", set_log_level },
};

/* Its index in options[], or -EINVAL. */
static int find_option(const char *name, struct rdisk_error *err)
{
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (strcmp(options[i].name, name) == 0) {
            return (int)i;
        }
    }
    return rdisk_error_set(err, -EINVAL,
                           "[daemon] has no key '%.40s': it takes control, "
                           "metrics, reactors, poll-time and log-level",
                           name);
}

int vhost_config_set(struct vhost_config *config, const char *name,
                     const char *value, struct rdisk_error *err)
{
    int i = find_option(name, err);

    return i < 0 ? i : options[i].set(config, name, value, err);
}

/* ---- The file ------------------------------------------------------------ */

static int add_disk(struct vhost_config *config, const char *name,
                    struct rdisk_error *err)
{
    struct disk_options *disks;

    if (!rdisk_volume_name_valid(name, strlen(name))) {
        return rdisk_error_set(err, -EINVAL,
                               "invalid disk name '%.140s': use 1-%d "
                               "of [A-Za-z0-9._+@,-], not starting with '.' or "
                               "'-'",
                               name, RDISK_VOLUME_NAME_MAX);
    }
    for (unsigned int i = 0; i < config->disk_count; i++) {
        if (strcmp(config->disks[i].name, name) == 0) {
            return rdisk_error_set(err, -EINVAL, "disk '%s' is given twice",
                                   name);
        }
    }
    if (config->disk_count == VHOST_CONFIG_DISKS_MAX) {
        return rdisk_error_set(err, -EINVAL, "more than %u disks",
                               VHOST_CONFIG_DISKS_MAX);
    }
    disks = realloc(config->disks, (config->disk_count + 1) * sizeof(disks[0]));
    if (!disks) {
        return rdisk_error_set(err, -ENOMEM, "no memory for disk '%s'", name);
    }
    config->disks = disks;
    if (disk_options_init(&disks[config->disk_count], name) < 0) {
        return rdisk_error_set(err, -ENOMEM, "no memory for disk '%s'", name);
    }
    config->disk_count++;
    return 0;
}

/* [daemon] or [disk NAME]. */
static int read_section(void *opaque, const char *section,
                        struct rdisk_error *err)
{
    if (strcmp(section, "daemon") == 0) {
        return 0;
    }
    if (strncmp(section, "disk", 4) || !strspn(section + 4, BLANKS)) {
        return rdisk_error_set(err, -EINVAL,
                               "there is no section [%.60s]: [daemon] and "
                               "[disk NAME] are known",
                               section);
    }
    return add_disk(opaque, section + 4 + strspn(section + 4, BLANKS), err);
}

static int read_key(void *opaque, const char *section, const char *key,
                    const char *value, struct rdisk_error *err)
{
    struct vhost_config *config = opaque;
    int i;

    if (!section[0]) {
        return rdisk_error_set(err, -EINVAL,
                               "'%.40s' comes before any "
                               "[section]",
                               key);
    }
    if (strcmp(section, "daemon")) {
        /* A section of a disk has added it. */
        return disk_options_set(&config->disks[config->disk_count - 1], key,
                                value, err);
    }
    i = find_option(key, err);
    if (i < 0) {
        return i;
    }
    if (config->seen & 1u << i) {
        return rdisk_error_set(err, -EINVAL, "%s is given twice", key);
    }
    config->seen |= 1u << i;
    return options[i].set(config, key, value, err);
}

int vhost_config_read(struct vhost_config *config, const char *path,
                      struct rdisk_error *err)
{
    static const struct ini_handler handler = {
        .section = read_section,
        .key = read_key,
    };
    struct rdisk_error why = { 0 };
    int ret = ini_read(path, &handler, config, err);

    for (unsigned int i = 0; i < config->disk_count && ret == 0; i++) {
        ret = disk_options_check(&config->disks[i], &why);
        if (ret < 0) {
            rdisk_error_set(err, ret, "%s: %.280s", path, why.text);
        }
    }
    return ret;
}
