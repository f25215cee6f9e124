/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk secret */
#include <stdint.h>
#include <stdio.h>

#include "tools/rdisk.h"
#include <rdisk/env.h>

/* As strong as the hash that it keys. */
#define SECRET_SIZE 32

int command_secret(const struct arguments *arguments)
{
    uint8_t secret[SECRET_SIZE];
    char text[2 * SECRET_SIZE + 1];

    rdisk_env_system.random(rdisk_env_system.opaque, secret, sizeof(secret));
    for (size_t i = 0; i < sizeof(secret); i++) {
        snprintf(text + 2 * i, 3, "%02x", secret[i]);
    }
    printf(arguments->json ? "{ \"secret\": \"%s\" }\n" : "%s\n", text);
    if (fflush(stdout) != 0) {
        return failed("cannot write the secret: the output is full or closed");
    }
    return EXIT_OK;
}
