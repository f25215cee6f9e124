/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "vhost-user-blk/disk.h"

int disk_options_init(struct disk_options *options, const char *name)
{
    *options = (struct disk_options) {
        .name = strdup(name),
        .virtqueues = DISK_DEFAULT_VIRTQUEUES,
        .mode = DISK_DEFAULT_MODE,
        .owner = (uid_t)-1,
        .group = (gid_t)-1,
    };
    rdisk_initiator_options_init(&options->initiator);
    return options->name ? 0 : -ENOMEM;
}

void disk_options_free(struct disk_options *options)
{
    free(options->name);
    free(options->uri);
    free(options->user);
    free(options->socket);
    free(options->serial);
    rdisk_secret_wipe(&options->secret);
    *options = (struct disk_options) { 0 };
}

static int set_text(char **text, const char *value, const char *name,
                    struct rdisk_error *err)
{
    free(*text);
    *text = strdup(value);
    return *text ? 0 : rdisk_error_set(err, -ENOMEM, "no memory for %s", name);
}

/* A whole number in @base, in its range. */
static int set_number(unsigned long *number, const char *name,
                      const char *value, int base, unsigned long min,
                      unsigned long max, struct rdisk_error *err)
{
    char *end;

    errno = 0;
    *number = strtoul(value, &end, base);
    if (errno || end == value || *end || *value == '-' || *number < min ||
        *number > max) {
        return rdisk_error_set(
            err, -EINVAL,
            base == 8 ? "%s = %.40s is not an octal number from %lo "
                        "to %lo"
                      : "%s = %.40s is not a whole number from %lu "
                        "to %lu",
            name, value, min, max);
    }
    return 0;
}

static int uri_option(void *opaque, const char *name, const char *value,
                      struct rdisk_error *err)
{
    struct disk_options *options = opaque;

    return rdisk_initiator_option_set(&options->initiator, name, value, err);
}

static int set_uri(struct disk_options *options, const char *value,
                   struct rdisk_error *err)
{
    int ret = rdisk_uri_parse(value, &options->parsed, uri_option, options,
                              err);

    if (ret < 0) {
        return ret;
    }
    options->initiator.port = options->parsed.port;
    return set_text(&options->uri, value, "the URI", err);
}

/* A name, or a number. */
static int set_owner(uid_t *owner, const char *value, struct rdisk_error *err)
{
    const struct passwd *user = getpwnam(value);
    unsigned long number;

    if (user) {
        *owner = user->pw_uid;
        return 0;
    }
    if (set_number(&number, "owner", value, 10, 0, UINT32_MAX - 1, NULL) < 0) {
        return rdisk_error_set(err, -EINVAL,
                               "owner = %.60s is neither a user "
                               "of this machine nor a number",
                               value);
    }
    *owner = (uid_t)number;
    return 0;
}

static int set_group(gid_t *group, const char *value, struct rdisk_error *err)
{
    const struct group *found = getgrnam(value);
    unsigned long number;

    if (found) {
        *group = found->gr_gid;
        return 0;
    }
    if (set_number(&number, "group", value, 10, 0, UINT32_MAX - 1, NULL) < 0) {
        return rdisk_error_set(err, -EINVAL,
                               "group = %.60s is neither a "
                               "group of this machine nor a number",
                               value);
    }
    *group = (gid_t)number;
    return 0;
}

int disk_options_set(struct disk_options *options, const char *name,
                     const char *value, struct rdisk_error *err)
{
    unsigned long number;
    int ret;

    if (strcmp(name, "uri") == 0) {
        return set_uri(options, value, err);
    }
    if (strcmp(name, "socket") == 0) {
        return set_text(&options->socket, value, "the socket's path", err);
    }
    if (strcmp(name, "user") == 0) {
        ret = set_text(&options->user, value, "the user's name", err);
        options->initiator.user = options->user;
        return ret;
    }
    if (strcmp(name, "secret-file") == 0) {
        return rdisk_secret_read(&options->secret, value, err);
    }
    if (strcmp(name, "serial") == 0) {
        if (strlen(value) > BLK_SERIAL_SIZE) {
            return rdisk_error_set(err, -EINVAL,
                                   "serial = %.60s is longer "
                                   "than %u bytes",
                                   value, BLK_SERIAL_SIZE);
        }
        return set_text(&options->serial, value, "the serial number", err);
    }
    if (strcmp(name, "queues") == 0) {
        ret = set_number(&number, name, value, 10, 1, DEVICE_VIRTQUEUES_MAX,
                         err);
        options->virtqueues = (unsigned int)number;
        return ret;
    }
    if (strcmp(name, "mode") == 0) {
        ret = set_number(&number, name, value, 8, 0, 0777, err);
        options->mode = (mode_t)number;
        return ret;
    }
    if (strcmp(name, "owner") == 0) {
        return set_owner(&options->owner, value, err);
    }
    if (strcmp(name, "group") == 0) {
        return set_group(&options->group, value, err);
    }
    return rdisk_error_set(err, -EINVAL,
                           "a disk has no option '%.40s': it "
                           "takes uri, socket, user, secret-file, serial, "
                           "queues, mode, owner and group",
                           name);
}

int disk_options_check(const struct disk_options *options,
                       struct rdisk_error *err)
{
    if (!options->uri) {
        return rdisk_error_set(err, -EINVAL,
                               "disk '%s' needs uri = "
                               "rdma://SERVER/VOLUME",
                               options->name);
    }
    if (!options->socket) {
        return rdisk_error_set(err, -EINVAL, "disk '%s' needs socket = PATH",
                               options->name);
    }
    if (!options->user != !options->secret.length) {
        return rdisk_error_set(err, -EINVAL,
                               "disk '%s' needs both user and "
                               "secret-file, or neither",
                               options->name);
    }
    return 0;
}
