/* SPDX-License-Identifier: BSD-3-Clause */
/* Which clients may connect, and what each may do. */
#ifndef RDISK_SERVER_CONFIG_ACCESS_H
#define RDISK_SERVER_CONFIG_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/config/throttle_section.h"
#include <rdisk/protocol.h>
#include <rdisk/secret.h>

/* A [client NAME] section. */
struct access_client {
    struct access_client *next;
    char *name;
    struct rdisk_secret *secret; /* NULL: not given */
    char *read_write;            /* patterns of volume names; NULL: none */
    char *read_only;
    char *create;
    uint64_t max_sessions; /* 0: no limit of its own */
    uint64_t max_memory;   /* bytes of slots of its sessions; 0: the same */
    unsigned int seen;     /* keys given, bit by bit */
    struct throttle_values throttle; /* of its sessions together */
    uint32_t throttle_seen;          /* the same, of these */
};

/* Whether clients must authenticate. */
enum access_method {
    ACCESS_METHOD_UNSET, /* as HMAC */
    ACCESS_METHOD_HMAC,
    ACCESS_METHOD_OPEN, /* "none": no */
};

enum access {
    ACCESS_NONE, /* as if the volume did not exist */
    ACCESS_READ,
    ACCESS_WRITE,
};

/* The client @name of @clients, made if there is none yet. NULL: @err. */
struct access_client *access_add(struct access_client **clients,
                                 const char *name, struct rdisk_error *err);
/* One key of its section. Reads the secret's file. */
int access_set(struct access_client *client, const char *key, const char *value,
               struct rdisk_error *err);
/* "hmac" or "none". */
int access_method(enum access_method *method, const char *value,
                  struct rdisk_error *err);
/* "allow" or "deny", of option @key. */
int access_policy(bool *allowed, const char *key, const char *value,
                  struct rdisk_error *err);
/*
 * Check that a client can connect, and that each has a secret. Warns if all may
 * connect without one.
 */
int access_check(const struct access_client *clients, enum access_method method,
                 struct rdisk_error *err);
/* True if it is a name, or a pattern, that volumes can match. */
bool access_pattern_valid(const char *pattern);
/* NULL if there is none of that name. */
const struct access_client *access_find(const struct access_client *clients,
                                        const char *name);
/*
 * What it may do with @volume; write, if both lists name it. Snapshots can be
 * read at most, by a client that may use their volume or is listed for them.
 */
enum access access_to(const struct access_client *client, const char *volume);
/* What access_to() needs of @client, in @copy, for another thread. 0 or
 * -ENOMEM, with nothing to be freed. */
int access_copy_lists(struct access_client *copy,
                      const struct access_client *client);
void access_free_lists(struct access_client *client);
/* True if it may create a volume of that name, or a snapshot of that volume. */
bool access_to_create(const struct access_client *client, const char *volume);
/* Wipes the secrets. */
void access_free(struct access_client *clients);

#endif
