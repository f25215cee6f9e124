/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The secret that a client and the server share. It never crosses the wire.
 *
 * Nothing in here keeps state; any thread.
 */
#ifndef RDISK_SECRET_H
#define RDISK_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include <rdisk/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Bytes of a secret. 16 random bytes cannot be guessed; beyond 64, the block
 * of SHA-256, HMAC would hash them first and gain nothing.
 */
#define RDISK_SECRET_MIN 16u
#define RDISK_SECRET_MAX 64u

struct rdisk_secret {
    uint8_t bytes[RDISK_SECRET_MAX];
    unsigned int length; /* 0: there is none */
};

/*
 * A secret from one line of text, with or without its newline: an even number
 * of 32 to 128 hex digits stands for half as many bytes, anything else for
 * itself. 0, or -EINVAL with a sentence that does not contain the text.
 */
int rdisk_secret_parse(struct rdisk_secret *secret, const void *text,
                       size_t length, struct rdisk_error *err);
/*
 * The same from a file, which must be its user's or root's, and no other's
 * to read (root's file may be its group's to read). 0 or a negative errno.
 */
int rdisk_secret_read(struct rdisk_secret *secret, const char *path,
                      struct rdisk_error *err);
/* Overwrite it, in a way that no compiler leaves out. */
void rdisk_secret_wipe(struct rdisk_secret *secret);

/* Memory for one that is kept, all zero: core dumps leave it out. NULL: there
 * is none. */
struct rdisk_secret *rdisk_secret_new(void);
/* Wiped first. NULL is allowed. */
void rdisk_secret_free(struct rdisk_secret *secret);

#ifdef __cplusplus
}
#endif

#endif
