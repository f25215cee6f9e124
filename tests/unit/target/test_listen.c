/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a server may listen, and what it says if it may not. */
#include <errno.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;

/* Somebody listens on @other, and the server wants @own. */
static void refused(const char *other, const char *own, int code,
                    const char *words)
{
    struct rdisk_target_options options;
    struct rdisk_error err = { 0 };
    struct rdisk_target *second;

    scene_prepare(&scene, 1);
    scene.options.address = other;
    scene_serve(&scene);
    REQUIRE(scene.target != NULL);
    options = scene.options;
    options.address = own;
    CHECK_EQUAL(rdisk_target_probe(&scene.env, &options, &err), code);
    CHECK_SAYS(err.text, words);
    second = rdisk_target_create(&scene.env, &options, NULL, NULL, &err);
    CHECK(second == NULL);
    CHECK_EQUAL(err.code, code);
    CHECK_SAYS(err.text, words);
    options.port++;
    CHECK_EQUAL(rdisk_target_probe(&scene.env, &options, &err),
                code == -EADDRINUSE ? 0 : code);
    scene_end(&scene);
}

static void port_in_use(void)
{
    refused("", "", -EADDRINUSE, "any address, port 7471: another server");
    refused("", "10.0.0.1", -EADDRINUSE, "another server uses that port");
    refused("10.0.0.1", "", -EADDRINUSE, "another server uses that port");
    refused("10.0.0.1", "10.0.0.1", -EADDRINUSE,
            "another server uses that port");
}

static void no_such_address(void)
{
    refused("", "10.0.0.9", -EADDRNOTAVAIL, "no RDMA device has that address");
}

static void unresolved(void)
{
    refused("", "no.such.host.invalid", -EINVAL, "cannot resolve address");
}

static const struct unit_test tests[] = {
    { "a port that is used, on this or on all addresses, is reported",
      port_in_use },
    { "an address that no device has is reported", no_such_address },
    { "a name that is not known is reported", unresolved },
};

UNIT_SUITE("listen", tests)
