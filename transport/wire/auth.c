/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/wire/auth.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

/* ---- Proofs ----------------------------------------------------------- */

/* What is proved; docs/protocol.md has the same. */
struct transcript {
    uint8_t label[16];
    rdisk_le16 version;
    uint8_t role;
    uint8_t name_length;
    uint8_t reserved[4];
    uint8_t name[RDISK_USER_NAME_MAX];
    uint8_t client_nonce[RDISK_NONCE_SIZE];
    uint8_t server_nonce[RDISK_NONCE_SIZE];
    rdisk_le64 offered;
    rdisk_le64 required;
    rdisk_le64 chosen;
};
static_assert(sizeof(struct transcript) == 176, "no padding in what is proved");

int rdisk_auth_prove(const struct rdisk_secret *secret,
                     enum rdisk_auth_role role, const struct rdisk_auth *auth,
                     uint8_t proof[RDISK_PROOF_SIZE])
{
    struct transcript text = {
        .label = "rdisk proof",
        .version = htole16(RDISK_WIRE_VERSION),
        .role = (uint8_t)role,
        .name_length = (uint8_t)strlen(auth->user),
        .offered = htole64(auth->offered),
        .required = htole64(auth->required),
        .chosen = htole64(auth->chosen),
    };
    unsigned int size = 0;

    memcpy(text.name, auth->user, text.name_length);
    memcpy(text.client_nonce, auth->client_nonce, sizeof(text.client_nonce));
    memcpy(text.server_nonce, auth->server_nonce, sizeof(text.server_nonce));
    if (!HMAC(EVP_sha256(), secret->bytes, (int)secret->length,
              (const uint8_t *)&text, sizeof(text), proof, &size) ||
        size != RDISK_PROOF_SIZE) {
        memset(proof, 0, RDISK_PROOF_SIZE);
        return -EIO;
    }
    return 0;
}

bool rdisk_auth_same(const uint8_t *a, const uint8_t *b, size_t size)
{
    return CRYPTO_memcmp(a, b, size) == 0;
}
