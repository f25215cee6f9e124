/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of a disk, from the configuration file or the control socket. */
#ifndef VHOST_USER_BLK_DISK_OPTIONS_H
#define VHOST_USER_BLK_DISK_OPTIONS_H

#include <sys/types.h>

#include <rdisk/initiator.h>
#include <rdisk/uri.h>

/* What a disk is to be, checked. */
struct disk_options {
    char *name;
    char *uri; /* as given */
    struct rdisk_uri parsed;
    struct rdisk_initiator_options initiator; /* host, volume, user and
                                   secret point into this structure */
    char *user;
    struct rdisk_secret secret;
    char *socket;
    char *serial; /* NULL: the volume's name */
    unsigned int virtqueues;
    mode_t mode;
    uid_t owner; /* -1: the user and group of the daemon */
    gid_t group;
    unsigned int seen; /* options that have been set, bit by bit */
};

#define DISK_VIRTQUEUES_MAX     64u
#define DISK_DEFAULT_VIRTQUEUES 4u
#define DISK_DEFAULT_MODE       0600

/* 0 or -ENOMEM. */
int disk_options_init(struct disk_options *options, const char *name);
void disk_options_free(struct disk_options *options);
/*
 * Set one option by its name: uri, socket, user, secret-file, serial, queues,
 * mode, owner, group; each once. 0, or -EINVAL, -ENOMEM or the error of reading
 * the secret's file, with a sentence.
 */
int disk_options_set(struct disk_options *options, const char *name,
                     const char *value, struct rdisk_error *err);
/* Whether all that must be given is. */
int disk_options_check(const struct disk_options *options,
                       struct rdisk_error *err);

#endif
