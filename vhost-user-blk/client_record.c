/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/client_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/hex.h"

/* "rdisk-vhost 1 ID EPOCH GENERATION\n" */
#define FORMAT     "rdisk-vhost 1 %32s %" SCNu64 " %" SCNu64 " %c"
#define RECORD_MAX 128

static int parse(const char *path, const char *text,
                 struct rdisk_client *client, struct rdisk_error *err)
{
    char id[33], rest;

    if (sscanf(text, FORMAT, id, &client->epoch, &client->generation, &rest) !=
            3 ||
        strlen(id) != 32 || !hex_parse(id, client->id, sizeof(client->id)) ||
        client->epoch == 0 || client->epoch > UINT64_MAX - CLIENT_EPOCHS) {
        return rdisk_error_set(err, -EINVAL,
                               "'%s', the record of a disk's "
                               "client, is damaged; remove it when no guest "
                               "uses the disk",
                               path);
    }
    return 0;
}

int client_record_read(const char *path, const struct rdisk_env *env,
                       struct rdisk_client *client, struct rdisk_error *err)
{
    char text[RECORD_MAX + 1];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0 && errno == ENOENT) {
        *client = (struct rdisk_client) { .epoch = 1 };
        env->random(env->opaque, client->id, sizeof(client->id));
        return 0;
    }
    n = fd < 0 ? -1 : read(fd, text, RECORD_MAX);
    if (n < 0) {
        int code = -errno;

        if (fd >= 0) {
            close(fd);
        }
        return rdisk_error_set(err, code,
                               "cannot read '%s', the record of a "
                               "disk's client: %s",
                               path, strerror(-code));
    }
    close(fd);
    text[n] = '\0';
    return parse(path, text, client, err);
}

int client_record_write(const char *path, const struct rdisk_client *client,
                        struct rdisk_error *err)
{
    char line[RECORD_MAX], temporary[4096], id[33];
    int length, fd, ret = 0;

    hex_print(client->id, sizeof(client->id), id);
    length = snprintf(line, sizeof(line),
                      "rdisk-vhost 1 %s %" PRIu64 " %" PRIu64 "\n", id,
                      client->epoch, client->generation);
    if (snprintf(temporary, sizeof(temporary), "%s.new", path) >=
        (int)sizeof(temporary)) {
        return rdisk_error_set(err, -ENAMETOOLONG,
                               "cannot write '%s', the "
                               "record of a disk's client: %s",
                               path, strerror(ENAMETOOLONG));
    }
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
              0600);
    if (fd < 0) {
        ret = -errno;
    } else {
        ret = write(fd, line, (size_t)length) == length ? 0 : -EIO;
        if (close(fd) < 0 || (ret == 0 && rename(temporary, path) < 0)) {
            ret = -errno;
        }
    }
    return ret < 0 ? rdisk_error_set(err, ret,
                                     "cannot write '%s', the record "
                                     "of a disk's client: %s",
                                     path, strerror(-ret))
                   : 0;
}
