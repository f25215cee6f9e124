/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a server may listen, and what it says if it may not. */
#include <errno.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"
#include "transport/target/session.h"

static struct scene scene;

/* Another program listens on @other, and the server wants @own. */
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
    CHECK_EQUAL(rdisk_target_probe(&scene.env, &options, NULL, &err), code);
    CHECK_SAYS(err.text, words);
    second = rdisk_target_create(&scene.env, &options, NULL, NULL, &err);
    CHECK(second == NULL);
    CHECK_EQUAL(err.code, code);
    CHECK_SAYS(err.text, words);
    options.port++;
    CHECK_EQUAL(rdisk_target_probe(&scene.env, &options, NULL, &err),
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

static sa_family_t family(void)
{
    return scene.target->listener->route.addr.src_addr.sa_family;
}

static void any_address(void)
{
    scene_begin(&scene, 1);
    CHECK_EQUAL(family(), AF_INET6);
    CHECK(scene_connect(&scene.clients[0])); /* whose address is IPv4 */
    scene_end(&scene);
}

static void no_ipv6(void)
{
    scene_prepare(&scene, 1);
    fake_fail(scene.server_host, FAKE_BIND_ADDR, 1, EAFNOSUPPORT);
    scene_serve(&scene);
    REQUIRE(scene.target != NULL);
    CHECK_EQUAL(family(), AF_INET);
    CHECK(scene_connect(&scene.clients[0]));
    scene_end(&scene);
}

static void unresolved(void)
{
    refused("", "no.such.host.invalid", -EINVAL, "cannot resolve address");
}

static void check_device(const char *address, const char *name)
{
    struct rdisk_target_options options;
    struct rdisk_error err = { 0 };
    char device[RDISK_DEVICE_NAME] = "?";

    scene_prepare(&scene, 1);
    options = scene.options;
    options.address = address;
    CHECK_EQUAL(rdisk_target_probe(&scene.env, &options, device, &err), 0);
    CHECK(strcmp(device, name) == 0);
    scene_serve(&scene);
    scene_end(&scene);
}

static void device_of_address(void)
{
    check_device("10.0.0.1", "fake0");
    check_device("", "");
}

static const struct unit_test tests[] = {
    { "a port that is used, on this or on all addresses, is reported",
      port_in_use },
    { "an address that no device has is reported", no_such_address },
    { "any address is any of IPv6 and of IPv4", any_address },
    { "without IPv6 any address is any of IPv4", no_ipv6 },
    { "a name that is not known is reported", unresolved },
    { "an address has the name of its device, any address has none",
      device_of_address },
};

UNIT_SUITE("listen", tests)
