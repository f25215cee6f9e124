/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/log.h"

int config_init(struct config *config)
{
    *config = (struct config) {
        .control = strdup(CONFIG_DEFAULT_CONTROL),
        .reactors = 1,
        .poll_time = 32,
        .log_level = RDISK_LOG_INFO,
    };
    return config->control ? 0 : -ENOMEM;
}

void config_free(struct config *config)
{
    for (unsigned int i = 0; i < config->disk_count; i++) {
        disk_options_free(&config->disks[i]);
    }
    free(config->disks);
    free(config->control);
}

static int set_number(unsigned int *number, const char *name, const char *value,
                      unsigned int min, unsigned int max,
                      struct rdisk_error *err)
{
    unsigned long parsed;
    char *end;

    errno = 0;
    parsed = strtoul(value, &end, 10);
    if (errno || end == value || *end || *value == '-' || parsed < min ||
        parsed > max) {
        return rdisk_error_set(err, -EINVAL,
                               "%s = %.40s is not a whole number "
                               "from %u to %u",
                               name, value, min, max);
    }
    *number = (unsigned int)parsed;
    return 0;
}

int config_set(struct config *config, const char *name, const char *value,
               struct rdisk_error *err)
{
    if (strcmp(name, "control") == 0) {
        free(config->control);
        config->control = strdup(value);
        return config->control ? 0
                               : rdisk_error_set(err, -ENOMEM,
                                                 "no memory "
                                                 "for %s",
                                                 name);
    }
    if (strcmp(name, "reactors") == 0) {
        return set_number(&config->reactors, name, value, 1,
                          CONFIG_REACTORS_MAX, err);
    }
    if (strcmp(name, "poll-time") == 0) {
        return set_number(&config->poll_time, name, value, 0, 1000000, err);
    }
    if (strcmp(name, "log-level") == 0) {
        return log_level_parse(value, &config->log_level) < 0
                   ? rdisk_error_set(err, -EINVAL,
                                     "log-level = %.40s is not one "
                                     "of error, warning, info, debug",
                                     value)
                   : 0;
    }
    return rdisk_error_set(err, -EINVAL,
                           "[daemon] has no key '%.40s': it "
                           "takes control, reactors, poll-time and log-level",
                           name);
}

/* ---- The file ---------------------------------------------------------------- */

static struct disk_options *add_disk(struct config *config, const char *name,
                                     struct rdisk_error *err)
{
    struct disk_options *disks;

    if (!rdisk_volume_name_valid(name, strlen(name))) {
        rdisk_error_set(err, -EINVAL,
                        "invalid disk name '%.140s': use 1-%d "
                        "of [A-Za-z0-9._+@,-], not starting with '.' or '-'",
                        name, RDISK_VOLUME_NAME_MAX);
        return NULL;
    }
    for (unsigned int i = 0; i < config->disk_count; i++) {
        if (strcmp(config->disks[i].name, name) == 0) {
            rdisk_error_set(err, -EINVAL, "disk '%s' is given twice", name);
            return NULL;
        }
    }
    if (config->disk_count == CONFIG_DISKS_MAX) {
        rdisk_error_set(err, -EINVAL, "more than %u disks", CONFIG_DISKS_MAX);
        return NULL;
    }
    disks = realloc(config->disks, (config->disk_count + 1) * sizeof(disks[0]));
    if (!disks) {
        rdisk_error_set(err, -ENOMEM, "no memory for disk '%s'", name);
        return NULL;
    }
    config->disks = disks;
    if (disk_options_init(&disks[config->disk_count], name) < 0) {
        rdisk_error_set(err, -ENOMEM, "no memory for disk '%s'", name);
        return NULL;
    }
    return &disks[config->disk_count++];
}

static char *trim(char *text)
{
    char *end;

    while (isspace((unsigned char)*text)) {
        text++;
    }
    end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1])) {
        end--;
    }
    *end = '\0';
    return text;
}

/* [daemon] or [disk NAME]. */
static int take_section(struct config *config, char *line, bool *daemon,
                        struct disk_options **disk, struct rdisk_error *err)
{
    char *end = strchr(line, ']');

    if (!end || end[1]) {
        return rdisk_error_set(err, -EINVAL,
                               "'%.60s' is not [daemon] or "
                               "[disk NAME]",
                               line);
    }
    *end = '\0';
    line = trim(line + 1);
    *daemon = strcmp(line, "daemon") == 0;
    *disk = NULL;
    if (*daemon) {
        return 0;
    }
    if (strncmp(line, "disk", 4) || !isspace((unsigned char)line[4])) {
        return rdisk_error_set(err, -EINVAL,
                               "there is no section [%.60s]: "
                               "[daemon] and [disk NAME] are known",
                               line);
    }
    *disk = add_disk(config, trim(line + 4), err);
    return *disk ? 0 : err->code;
}

static int take_line(struct config *config, char *line, bool *daemon,
                     struct disk_options **disk, struct rdisk_error *err)
{
    char *equals;

    line = trim(line);
    if (!*line || *line == '#' || *line == ';') {
        return 0;
    }
    if (*line == '[') {
        return take_section(config, line, daemon, disk, err);
    }
    equals = strchr(line, '=');
    if (!equals || equals == line) {
        return rdisk_error_set(err, -EINVAL,
                               "'%.60s' is neither [section] nor "
                               "key = value",
                               line);
    }
    *equals = '\0';
    if (*daemon) {
        return config_set(config, trim(line), trim(equals + 1), err);
    }
    if (!*disk) {
        return rdisk_error_set(err, -EINVAL,
                               "'%.40s' comes before any "
                               "[section]",
                               trim(line));
    }
    return disk_options_set(*disk, trim(line), trim(equals + 1), err);
}

int config_read(struct config *config, const char *path,
                struct rdisk_error *err)
{
    FILE *file = fopen(path, "re");
    struct rdisk_error why = { 0 };
    struct disk_options *disk = NULL;
    bool daemon = false;
    unsigned int number = 0;
    char *line = NULL;
    size_t size = 0;
    int ret = 0;

    if (!file) {
        return rdisk_error_set(err, -errno,
                               "cannot read the configuration "
                               "file '%s': %s",
                               path, strerror(errno));
    }
    while (ret == 0 && getline(&line, &size, file) >= 0) {
        number++;
        ret = take_line(config, line, &daemon, &disk, &why);
    }
    free(line);
    fclose(file);
    if (ret < 0) {
        return rdisk_error_set(err, ret, "%s:%u: %.250s", path, number,
                               why.text);
    }
    for (unsigned int i = 0; i < config->disk_count && ret == 0; i++) {
        ret = disk_options_check(&config->disks[i], &why);
    }
    return ret < 0 ? rdisk_error_set(err, ret, "%s: %.280s", path, why.text)
                   : 0;
}
