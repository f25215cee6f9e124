/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Proofs that a peer knows a secret.
 *
 * A client has a name and a secret that it shares with the server. Each side
 * proves that it knows the secret with an HMAC-SHA-256 (RFC 2104, FIPS 198-1)
 * keyed with it, over all messages of both sides so far. The secret itself
 * never crosses the wire. docs/security.md describes what that protects from.
 *
 * Nothing in here keeps state; any thread.
 */
#ifndef RDISK_WIRE_AUTH_H
#define RDISK_WIRE_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rdisk/secret.h>
#include "transport/wire/wire.h"

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
/* Compares proofs and tokens, in a time that does not depend on where they
 * differ: they cannot be found byte by byte. */
bool rdisk_auth_same(const uint8_t *a, const uint8_t *b, size_t size);

#endif
