/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/config/access.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/size.h"
#include "common/snapshot_name.h"

#define BLANKS " \t"

struct access_client *access_add(struct access_client **clients,
                                 const char *name, struct rdisk_error *err)
{
    struct access_client *client;

    if (rdisk_user_name_check(name, strlen(name), err) < 0) {
        return NULL;
    }
    while (*clients) {
        if (strcmp((*clients)->name, name) == 0) {
            return *clients;
        }
        clients = &(*clients)->next;
    }
    client = calloc(1, sizeof(*client));
    if (!client || !(client->name = strdup(name))) {
        free(client);
        rdisk_error_set(err, -ENOMEM, "no memory for client '%s'", name);
        return NULL;
    }
    *clients = client;
    return client;
}

/* ---- Patterns --------------------------------------------------------- */

/* The next word of a list, in @word; false after the last, or if too long. */
static bool next_pattern(const char **list, char *word, size_t size)
{
    size_t length;

    *list += strspn(*list, BLANKS);
    length = strcspn(*list, BLANKS);
    if (!length || length >= size) {
        return false;
    }
    memcpy(word, *list, length);
    word[length] = '\0';
    *list += length;
    return true;
}

/* A '*' may stand for anything; the rest are characters of volume names. */
bool access_pattern_valid(const char *pattern)
{
    char name[RDISK_VOLUME_NAME_MAX + 1];
    size_t length = strlen(pattern);

    if (length > RDISK_VOLUME_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i <= length; i++) {
        name[i] = pattern[i] == '*' ? '_' : pattern[i];
    }
    return rdisk_volume_name_valid(name, length);
}

static int set_patterns(const struct access_client *client, char **where,
                        const char *key, const char *value,
                        struct rdisk_error *err)
{
    char pattern[RDISK_VOLUME_NAME_MAX + 1];
    const char *list = value;

    while (next_pattern(&list, pattern, sizeof(pattern))) {
        if (!access_pattern_valid(pattern)) {
            return rdisk_error_set(err, -EINVAL,
                                   "invalid pattern '%s' in %s of client '%s': "
                                   "names, separated by "
                                   "blanks, are letters, digits and . _ - + @ "
                                   ", and a * stands for "
                                   "any of them",
                                   pattern, key, client->name);
        }
    }
    if (*list) {
        return rdisk_error_set(err, -EINVAL,
                               "a name in %s of client '%s' is "
                               "longer than %d bytes",
                               key, client->name, RDISK_VOLUME_NAME_MAX);
    }
    *where = strdup(value);
    return *where ? 0
                  : rdisk_error_set(err, -ENOMEM,
                                    "no memory for client "
                                    "'%s'",
                                    client->name);
}

static bool matches(const char *list, const char *volume)
{
    char pattern[RDISK_VOLUME_NAME_MAX + 1];

    while (list && next_pattern(&list, pattern, sizeof(pattern))) {
        if (fnmatch(pattern, volume, 0) == 0) {
            return true;
        }
    }
    return false;
}

static enum access listed(const struct access_client *client,
                          const char *volume)
{
    return matches(client->read_write, volume)  ? ACCESS_WRITE
           : matches(client->read_only, volume) ? ACCESS_READ
                                                : ACCESS_NONE;
}

enum access access_to(const struct access_client *client, const char *volume)
{
    char base[RDISK_VOLUME_NAME_MAX + 1];

    if (!snapshot_is_name(volume)) {
        return listed(client, volume);
    }
    return listed(client, volume) != ACCESS_NONE ||
                   listed(client, snapshot_volume(volume, base)) != ACCESS_NONE
               ? ACCESS_READ
               : ACCESS_NONE;
}

bool access_to_create(const struct access_client *client, const char *volume)
{
    char base[RDISK_VOLUME_NAME_MAX + 1];

    return matches(client->create, volume) ||
           matches(client->create, snapshot_volume(volume, base));
}

void access_free_lists(struct access_client *client)
{
    free(client->read_write);
    free(client->read_only);
    free(client->create);
    client->read_write = client->read_only = client->create = NULL;
}

int access_copy_lists(struct access_client *copy,
                      const struct access_client *client)
{
    copy->read_write = client->read_write ? strdup(client->read_write) : NULL;
    copy->read_only = client->read_only ? strdup(client->read_only) : NULL;
    if (!copy->read_write == !client->read_write &&
        !copy->read_only == !client->read_only) {
        return 0;
    }
    access_free_lists(copy);
    return -ENOMEM;
}

/* ---- Sections --------------------------------------------------------- */

static int set_limit(const struct access_client *client, uint64_t *limit,
                     const char *key, const char *value, uint64_t min,
                     uint64_t max, struct rdisk_error *err)
{
    char least[SIZE_TEXT], most[SIZE_TEXT];

    if (size_parse(value, limit) == 0 && *limit >= min && *limit <= max) {
        return 0;
    }
    return rdisk_error_set(err, -EINVAL,
                           "%s = %s of client '%s' is not between %s and %s",
                           key, value, client->name,
                           size_format(min, least, sizeof(least)),
                           size_format(max, most, sizeof(most)));
}

#define WHAT_TEXT (RDISK_USER_NAME_MAX + 16)

static const char *name_client(const struct access_client *client, char *text)
{
    snprintf(text, WHAT_TEXT, "client '%s'", client->name);
    return text;
}

static int set_throttle(struct access_client *client, const char *key,
                        const char *value, struct rdisk_error *err)
{
    char what[WHAT_TEXT];

    return throttle_values_set(&client->throttle, &client->throttle_seen,
                               name_client(client, what), key, value, err);
}

int access_set(struct access_client *client, const char *key, const char *value,
               struct rdisk_error *err)
{
    static const char *const keys[] = { "secret-file",  "read-write",
                                        "read-only",    "create",
                                        "max-sessions", "max-memory" };
    const unsigned int count = sizeof(keys) / sizeof(keys[0]);
    unsigned int i = 0;
    int result;

    if (throttle_is_key(key)) {
        return set_throttle(client, key, value, err);
    }
    while (i < count && strcmp(keys[i], key) != 0) {
        i++;
    }
    if (i < count && (client->seen & 1u << i)) {
        return rdisk_error_set(err, -EINVAL,
                               "%s of client '%s' is given "
                               "twice",
                               key, client->name);
    }
    client->seen |= 1u << i;
    switch (i) {
    case 0:
        client->secret = rdisk_secret_new();
        if (!client->secret) {
            return rdisk_error_set(err, -ENOMEM, "no memory for client '%s'",
                                   client->name);
        }
        result = rdisk_secret_read(client->secret, value, err);
        return result < 0 ? rdisk_error_prefix(err, "client '%s'", client->name)
                          : 0;
    case 1:
        return set_patterns(client, &client->read_write, key, value, err);
    case 2:
        return set_patterns(client, &client->read_only, key, value, err);
    case 3:
        return set_patterns(client, &client->create, key, value, err);
    case 4:
        return set_limit(client, &client->max_sessions, key, value, 1, 65536,
                         err);
    case 5:
        return set_limit(client, &client->max_memory, key, value, 1u << 20,
                         1ull << 44, err);
    default:
        return rdisk_error_set(err, -EINVAL,
                               "a client has no key '%s' (it "
                               "has secret-file, read-write, read-only, "
                               "create, max-sessions, max-memory and limits of "
                               "iops and bps)",
                               key);
    }
}

int access_method(enum access_method *method, const char *value,
                  struct rdisk_error *err)
{
    if (strcmp(value, "hmac") != 0 && strcmp(value, "none") != 0) {
        return rdisk_error_set(err, -EINVAL,
                               "authentication = %s is neither "
                               "hmac nor none",
                               value);
    }
    *method = value[0] == 'h' ? ACCESS_METHOD_HMAC : ACCESS_METHOD_OPEN;
    return 0;
}

int access_policy(bool *allowed, const char *key, const char *value,
                  struct rdisk_error *err)
{
    if (strcmp(value, "allow") != 0 && strcmp(value, "deny") != 0) {
        return rdisk_error_set(err, -EINVAL,
                               "%s = %s is neither allow nor "
                               "deny",
                               key, value);
    }
    *allowed = value[0] == 'a';
    return 0;
}

int access_check(const struct access_client *clients, enum access_method method,
                 struct rdisk_error *err)
{
    /* To serve without authentication must be configured explicitly. */
    if (method == ACCESS_METHOD_OPEN) {
        log_warning("authentication = none: any client that reaches the port "
                    "may use every volume%s",
                    clients ? "; [client] sections are ignored" : "");
        return 0;
    }
    if (!clients) {
        return rdisk_error_set(
            err, -EINVAL,
            "no client is allowed to connect: name the clients in [client "
            "NAME] sections, or, on a network that you trust, set "
            "authentication = none (--authentication none), which allows any "
            "client that reaches the port");
    }
    for (; clients; clients = clients->next) {
        char what[WHAT_TEXT];

        if (throttle_values_check(&clients->throttle,
                                  name_client(clients, what), err) < 0) {
            return -EINVAL;
        }
        if (!clients->secret) {
            return rdisk_error_set(err, -EINVAL,
                                   "client '%s' needs secret-file=, a file "
                                   "that 'rdisk secret' can fill",
                                   clients->name);
        }
        if (!clients->read_write && !clients->read_only && !clients->create) {
            return rdisk_error_set(
                err, -EINVAL,
                "client '%s' may use no volume: list some in read-write=, "
                "read-only= or create=, or remove its section",
                clients->name);
        }
    }
    return 0;
}

const struct access_client *access_find(const struct access_client *clients,
                                        const char *name)
{
    while (clients && strcmp(clients->name, name) != 0) {
        clients = clients->next;
    }
    return clients;
}

void access_free(struct access_client *clients)
{
    while (clients) {
        struct access_client *next = clients->next;

        rdisk_secret_free(clients->secret);
        free(clients->name);
        access_free_lists(clients);
        free(clients);
        clients = next;
    }
}
