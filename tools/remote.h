/* SPDX-License-Identifier: BSD-3-Clause */
/* A session of rdisk's own with a volume, on this machine or another. */
#ifndef TOOLS_REMOTE_H
#define TOOLS_REMOTE_H

#include "tools/rdisk.h"
#include <rdisk/initiator.h>
#include <rdisk/uri.h>

struct json_object;

/* True if a command's word names a volume by its URI. */
bool remote_is_uri(const char *word);

/* What a URI, --user and --secret-file name. */
struct remote_options {
    struct rdisk_initiator_options options;
    struct rdisk_uri uri; /* its strings are the options' */
    struct rdisk_secret secret;
};

/* Read the first word. EXIT_OK, or the exit status; an error has been
 * printed. */
int remote_options_read(struct remote_options *remote,
                        const struct arguments *arguments, bool read_only);

struct remote {
    struct remote_options where;
    struct rdisk_initiator *session;
    const char *word; /* the URI, for messages */
    bool done;        /* what was requested has ended */
    int result;
    struct rdisk_error error;
    uint64_t allocated;
};

/* Connect. EXIT_OK, or the exit status; an error has been printed. */
int remote_open(struct remote *remote, const struct arguments *arguments,
                bool read_only);
/* Serve session and queue until remote->done. 0 or a negative errno. */
int remote_serve(struct remote *remote);
/* Close cleanly if @result is 0, else print the error. The exit status. */
int remote_close(struct remote *remote, int result);

/* Commands whose first word is a URI. */
int remote_create(const struct arguments *arguments, uint64_t size);
int remote_delete(const struct arguments *arguments, uint64_t size);
/* EXIT_OK with an array of the volumes, or the exit status: the error has been
 * printed. */
int remote_list(const struct arguments *arguments,
                struct json_object **volumes);
/* The same with the snapshots of the URI's volume. */
int remote_list_snapshots(const struct arguments *arguments,
                          struct json_object **snapshots);
int remote_resize(const struct arguments *arguments, uint64_t size);

#endif
