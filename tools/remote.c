/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/remote.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <string.h>

#include "common/snapshot_name.h"

bool remote_is_uri(const char *word)
{
    return strstr(word, "://") != NULL;
}

static int set_option(void *opaque, const char *name, const char *value,
                      struct rdisk_error *err)
{
    return rdisk_initiator_option_set(opaque, name, value, err);
}

/* All but what the URI has. EXIT_OK, or the exit status. */
static int read_client(struct remote_options *remote,
                       const struct arguments *arguments)
{
    struct rdisk_initiator_options *options = &remote->options;
    struct rdisk_error err;

    options->host = remote->uri.host;
    options->servers = remote->uri.servers;
    options->port = remote->uri.port;
    options->volume = remote->uri.volume;
    options->user = arguments->user;
    if (arguments->secret_file) {
        if (rdisk_secret_read(&remote->secret, arguments->secret_file, &err) <
            0) {
            return failed_code(err.code, "%s", err.text);
        }
        options->secret = &remote->secret;
    }
    return EXIT_OK;
}

int remote_options_read(struct remote_options *remote,
                        const struct arguments *arguments, bool read_only)
{
    struct rdisk_initiator_options *options = &remote->options;
    struct rdisk_error err;

    rdisk_initiator_options_init(options);
    options->read_only = read_only;
    if (rdisk_uri_parse(arguments->uri, &remote->uri, set_option, options,
                        &err) < 0) {
        failed("%s", err.text);
        return EXIT_USAGE;
    }
    return read_client(remote, arguments);
}

/* ---- A session --------------------------------------------------------- */

int remote_open(struct remote *remote, const struct arguments *arguments,
                bool read_only)
{
    struct rdisk_error err = { 0 };
    int result;

    *remote = (struct remote) { .word = arguments->uri };
    result = remote_options_read(&remote->where, arguments, read_only);
    if (result != EXIT_OK) {
        return result;
    }
    remote->session = rdisk_initiator_create(&rdisk_env_system,
                                             &remote->where.options, NULL, NULL,
                                             &err);
    rdisk_secret_wipe(&remote->where.secret);
    if (!remote->session) {
        return failed_code(err.code, "%s", err.text);
    }
    result = rdisk_initiator_start(remote->session, &err);
    if (result == 0) {
        result = rdisk_initiator_wait(remote->session, &err);
    }
    if (result == 0) {
        return EXIT_OK;
    }
    failed_code(err.code, "%s: %s", remote->word, err.text);
    rdisk_initiator_destroy(remote->session);
    return EXIT_FAILED;
}

int remote_serve(struct remote *remote)
{
    struct rdisk_queue *queue = rdisk_initiator_queue(remote->session, 0);

    while (!remote->done) {
        struct pollfd fds[] = {
            { .fd = rdisk_initiator_fd(remote->session), .events = POLLIN },
            { .fd = rdisk_queue_fd(queue), .events = POLLIN },
        };

        /* At most a second at a time, so that every sleep is bounded. */
        poll(fds, 2, 1000);
        rdisk_queue_process(queue);
        rdisk_initiator_process(remote->session);
    }
    return remote->result;
}

int remote_close(struct remote *remote, int result)
{
    struct rdisk_error err = { 0 };

    if (result == 0) {
        rdisk_initiator_close(remote->session);
        result = rdisk_initiator_wait(remote->session, &err);
    } else {
        err = remote->error;
    }
    if (result < 0) {
        const struct rdisk_error *why = rdisk_initiator_error(remote->session);

        failed_code(result, "%s: %s", remote->word,
                    err.code    ? err.text
                    : why->code ? why->text
                                : strerror(-result));
    }
    rdisk_initiator_destroy(remote->session);
    return result < 0 ? EXIT_FAILED : EXIT_OK;
}

/* ---- Commands ---------------------------------------------------------- */

int remote_create(const struct arguments *arguments, uint64_t size)
{
    struct remote_options where = { 0 };
    struct rdisk_error err = { 0 };
    int result = remote_options_read(&where, arguments, false);

    if (result != EXIT_OK) {
        return result;
    }
    result = rdisk_create_volume(&rdisk_env_system, &where.options, size,
                                 arguments->replace ? 0
                                                    : RDISK_CREATE_EXCLUSIVE,
                                 &err);
    rdisk_secret_wipe(&where.secret);
    return result < 0
               ? failed_code(err.code, "%s: %s", arguments->uri, err.text)
               : EXIT_OK;
}

int remote_delete(const struct arguments *arguments, uint64_t size)
{
    struct remote_options where = { 0 };
    struct rdisk_error err = { 0 };
    int result = remote_options_read(&where, arguments, false);

    if (result != EXIT_OK) {
        return result;
    }
    result = rdisk_delete_volume(&rdisk_env_system, &where.options, &err);
    rdisk_secret_wipe(&where.secret);
    return result < 0
               ? failed_code(err.code, "%s: %s", arguments->uri, err.text)
               : EXIT_OK;
}

/* What the list of a server is filtered by, and its result. */
struct listing {
    const char *snapshots_of; /* a volume; NULL: everything */
    struct json_object *found;
};

static bool is_listed(const struct listing *listing, const char *name)
{
    char volume[RDISK_VOLUME_NAME_MAX + 1];

    return !listing->snapshots_of ||
           (snapshot_is_name(name) &&
            strcmp(snapshot_volume(name, volume), listing->snapshots_of) == 0);
}

static void add_volume(void *opaque, const struct rdisk_list_entry *entry)
{
    const struct listing *listing = opaque;
    struct json_object *volume;

    if (!is_listed(listing, entry->name)) {
        return;
    }
    volume = json_object_new_object();
    json_object_object_add(volume, "name", json_object_new_string(entry->name));
    json_object_object_add(volume, "size", json_object_new_uint64(entry->size));
    json_object_object_add(volume, "read_only",
                           json_object_new_boolean(entry->read_only));
    json_object_array_add(listing->found, volume);
}

/* Of the server that @where names; wipes its secret. */
static int list_of(struct remote_options *where,
                   const struct arguments *arguments, struct listing *listing,
                   struct json_object **volumes)
{
    struct rdisk_error err = { 0 };
    int result = EXIT_OK;

    listing->found = json_object_new_array();
    if (rdisk_list_volumes(&rdisk_env_system, &where->options, add_volume,
                           listing, &err) < 0) {
        result = failed_code(err.code, "%s: %s", arguments->uri, err.text);
        json_object_put(listing->found);
    } else {
        *volumes = listing->found;
    }
    rdisk_secret_wipe(&where->secret);
    return result;
}

int remote_list(const struct arguments *arguments, struct json_object **volumes)
{
    struct remote_options where = { 0 };
    struct listing listing = { 0 };
    struct rdisk_error err;
    int result;

    rdisk_initiator_options_init(&where.options);
    if (rdisk_uri_parse_server(arguments->uri, &where.uri, set_option,
                               &where.options, &err) < 0) {
        failed("%s", err.text);
        return EXIT_USAGE;
    }
    result = read_client(&where, arguments);
    return result == EXIT_OK ? list_of(&where, arguments, &listing, volumes)
                             : result;
}

int remote_list_snapshots(const struct arguments *arguments,
                          struct json_object **snapshots)
{
    struct remote_options where = { 0 };
    struct listing listing = { 0 };
    int result = remote_options_read(&where, arguments, true);

    listing.snapshots_of = where.uri.volume;
    return result == EXIT_OK ? list_of(&where, arguments, &listing, snapshots)
                             : result;
}

static void resized(void *opaque, int result, const struct rdisk_error *err)
{
    struct remote *remote = opaque;

    remote->done = true;
    remote->result = result;
    remote->error = *err;
}

int remote_resize(const struct arguments *arguments, uint64_t size)
{
    struct remote remote;
    int result = remote_open(&remote, arguments, false);

    if (result != EXIT_OK) {
        return result;
    }
    result = rdisk_initiator_resize(remote.session, size,
                                    arguments->shrink ? RDISK_RESIZE_SHRINK : 0,
                                    resized, &remote);
    switch (result) {
    case 0:
        result = remote_serve(&remote);
        break;
    case -ENOTSUP:
        rdisk_error_set(&remote.error, result,
                        "this client may not resize "
                        "the volume");
        break;
    case -EINVAL:
        rdisk_error_set(
            &remote.error, result,
            "the volume has %llu bytes in blocks of %u: the new size must be "
            "whole blocks, and a smaller one requires --shrink",
            (unsigned long long)rdisk_initiator_size(remote.session),
            rdisk_initiator_info(remote.session)->block_size);
        break;
    default:
        break;
    }
    return remote_close(&remote, result);
}
