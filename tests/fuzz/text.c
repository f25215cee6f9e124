/* SPDX-License-Identifier: BSD-3-Clause */
/* What is text: URIs, secrets, sizes, requests at the control socket. */
#include <stdlib.h>

#include "fuzz.h"
#include "server/admin/parse.h"
#include "common/size.h"
#include "tests/unit/support/unit.h"
#include "transport/wire/auth.h"
#include <rdisk/initiator.h>
#include <rdisk/uri.h>

static int option(void *opaque, const char *key, const char *value,
                  struct rdisk_error *err)
{
    CHECK(key && value);
    return rdisk_initiator_option_set(opaque, key, value, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    uint8_t which = fuzz_byte(&input) % 4;
    char *text = malloc(input.size + 1);
    struct rdisk_error err = { 0 };
    struct rdisk_secret secret;
    struct request request;
    uint64_t bytes;

    REQUIRE(text != NULL);
    if (input.size) {
        memcpy(text, input.data, input.size);
    }
    text[input.size] = '\0';
    switch (which) {
    case 0: {
        struct rdisk_initiator_options options;
        struct rdisk_uri uri;

        rdisk_initiator_options_init(&options);
        if (rdisk_uri_parse(text, &uri, option, &options, &err) == 0) {
            CHECK(rdisk_volume_name_valid(uri.volume, strlen(uri.volume)));
        }
        break;
    }
    case 1:
        if (rdisk_secret_parse(&secret, text, input.size, &err) == 0) {
            CHECK(secret.length >= 16 && secret.length <= 64);
        }
        break;
    case 2:
        if (request_parse(text, &request, &err) == 0) {
            CHECK(!request.name[0] ||
                  rdisk_volume_name_valid(request.name, strlen(request.name)));
        } else {
            CHECK(err.text[0]);
        }
        break;
    default:
        size_parse(text, &bytes);
        break;
    }
    free(text);
    return 0;
}
