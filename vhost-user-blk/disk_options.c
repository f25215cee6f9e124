/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/disk_options.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "common/number.h"
#include "vhost-user-blk/request.h"

/* Bytes of a user's or a group's entry; a group's has its members. */
#define ENTRY_MAX (256u << 10)

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

static int set_socket(struct disk_options *options, const char *value,
                      struct rdisk_error *err)
{
    return set_text(&options->socket, value, "the socket's path", err);
}

static int set_user(struct disk_options *options, const char *value,
                    struct rdisk_error *err)
{
    int ret = set_text(&options->user, value, "the user's name", err);

    options->initiator.user = options->user;
    return ret;
}

static int set_secret(struct disk_options *options, const char *value,
                      struct rdisk_error *err)
{
    return rdisk_secret_read(&options->secret, value, err);
}

static int set_serial(struct disk_options *options, const char *value,
                      struct rdisk_error *err)
{
    if (strlen(value) > BLK_SERIAL_SIZE) {
        return rdisk_error_set(err, -EINVAL,
                               "serial = %.60s is longer than %u bytes", value,
                               BLK_SERIAL_SIZE);
    }
    return set_text(&options->serial, value, "the serial number", err);
}

static int set_queues(struct disk_options *options, const char *value,
                      struct rdisk_error *err)
{
    uint64_t number = options->virtqueues;
    int ret = number_set("queues", value, 10, 1, DISK_VIRTQUEUES_MAX, &number,
                         err);

    options->virtqueues = (unsigned int)number;
    return ret;
}

static int set_mode(struct disk_options *options, const char *value,
                    struct rdisk_error *err)
{
    uint64_t number = options->mode;
    int ret = number_set("mode", value, 8, 0, 0777, &number, err);

    options->mode = (mode_t)number;
    return ret;
}

/* The number of a user or group that has no name here. */
static int set_id(uint32_t *id, const char *what, const char *value,
                  struct rdisk_error *err)
{
    uint64_t number;

    if (number_parse(value, 10, &number) < 0 || number >= UINT32_MAX) {
        return rdisk_error_set(err, -EINVAL,
                               "%s = %.60s is neither a %s of this machine nor "
                               "a number",
                               what, value,
                               strcmp(what, "owner") ? what : "user");
    }
    *id = (uint32_t)number;
    return 0;
}

static int set_owner(struct disk_options *options, const char *value,
                     struct rdisk_error *err)
{
    char text[ENTRY_MAX];
    struct passwd entry, *user;

    if (getpwnam_r(value, &entry, text, sizeof(text), &user) == 0 && user) {
        options->owner = user->pw_uid;
        return 0;
    }
    return set_id(&options->owner, "owner", value, err);
}

static int set_group(struct disk_options *options, const char *value,
                     struct rdisk_error *err)
{
    char text[ENTRY_MAX];
    struct group entry, *group;

    if (getgrnam_r(value, &entry, text, sizeof(text), &group) == 0 && group) {
        options->group = group->gr_gid;
        return 0;
    }
    return set_id(&options->group, "group", value, err);
}

int disk_options_set(struct disk_options *options, const char *name,
                     const char *value, struct rdisk_error *err)
{
    static const struct {
        const char *name;
        int (*set)(struct disk_options *options, const char *value,
                   struct rdisk_error *err);
    } known[] = {
        { "uri", set_uri },       { "socket", set_socket },
        { "user", set_user },     { "secret-file", set_secret },
        { "serial", set_serial }, { "queues", set_queues },
        { "mode", set_mode },     { "owner", set_owner },
        { "group", set_group },
    };

    for (unsigned int i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i].name, name)) {
            continue;
        }
        if (options->seen & 1u << i) {
            return rdisk_error_set(err, -EINVAL,
                                   "%s of disk '%s' is given twice", name,
                                   options->name);
        }
        options->seen |= 1u << i;
        return known[i].set(options, value, err);
    }
    return rdisk_error_set(err, -EINVAL,
                           "a disk has no option '%.40s': it takes uri, "
                           "socket, user, secret-file, serial, queues, mode, "
                           "owner and group",
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
