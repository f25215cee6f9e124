/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Secrets, and the proofs that a peer knows one.
 *
 * A client has a name and a secret that it shares with the server. Each side
 * proves that it knows the secret with an HMAC-SHA-256 (RFC 2104, FIPS 198-1)
 * keyed with it, over all that both sides have said so far. The secret itself
 * never crosses the wire. docs/security.md tells what that protects from.
 *
 * Nothing in here keeps state; any thread.
 */
#ifndef RDISK_AUTH_H
#define RDISK_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "wire.h"

/*
 * Bytes of a secret. 16 random bytes cannot be guessed; beyond 64, the block
 * of SHA-256, HMAC would hash them first and gain nothing.
 */
#define RDISK_SECRET_MIN    16u
#define RDISK_SECRET_MAX    64u

struct rdisk_secret {
    uint8_t bytes[RDISK_SECRET_MAX];
    unsigned int length;        /* 0: there is none */
};

/*
 * A secret from one line of text, with or without its newline: an even number
 * of 32 to 128 hex digits stands for half as many bytes, anything else for
 * itself. 0, or -EINVAL with a sentence that does not tell the text.
 */
int rdisk_secret_parse(struct rdisk_secret *secret, const void *text,
                       size_t length, struct rdisk_error *err);
/*
 * The same from a file, which must be its user's or root's, and nobody else's
 * to read (root's file may be its group's to read). 0 or a negative errno.
 */
int rdisk_secret_read(struct rdisk_secret *secret, const char *path,
                      struct rdisk_error *err);
/* Overwrite it, in a way that no compiler leaves out. */
void rdisk_secret_wipe(struct rdisk_secret *secret);

/* All that both sides must agree on. */
struct rdisk_auth {
    char user[RDISK_USER_NAME_MAX + 1];
    uint8_t client_nonce[RDISK_NONCE_SIZE];
    uint8_t server_nonce[RDISK_NONCE_SIZE];
    uint64_t offered, required; /* features, as HELLO has them */
    uint64_t chosen;            /* as HELLO_REPLY has them */
};

/* Who proves: part of the proof, so that one is never the other's. */
enum rdisk_auth_role {
    RDISK_AUTH_CLIENT = 1,
    RDISK_AUTH_SERVER = 2,
};

/* 0, or -EIO if libcrypto has no HMAC-SHA-256; @proof is zero then. */
int rdisk_auth_prove(const struct rdisk_secret *secret,
                     enum rdisk_auth_role role, const struct rdisk_auth *auth,
                     uint8_t proof[RDISK_PROOF_SIZE]);
/* In a time that does not depend on where they differ. */
bool rdisk_auth_same(const uint8_t a[RDISK_PROOF_SIZE],
                     const uint8_t b[RDISK_PROOF_SIZE]);

#endif
