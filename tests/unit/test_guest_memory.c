/* SPDX-License-Identifier: BSD-3-Clause */
/* guest-memory: what the server may write to, of what is registered. */
#include <stdlib.h>

#include "scene.h"
#include "unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct scene_client *other = &scene.clients[1];
static struct rdisk_error err;
static uint8_t buffer[1 << 20] __attribute__((aligned(4096)));

static void begin(uint64_t seed, enum rdisk_guest_memory guest_memory)
{
    memset(buffer, 0, sizeof(buffer));
    scene_begin(&scene, seed);
    client->options.guest_memory = guest_memory;
    REQUIRE(scene_connect(client));
    REQUIRE(rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                     &err) == 0);
}

static void end(void)
{
    rdisk_initiator_unregister(client->session, buffer, sizeof(buffer));
    scene_end(&scene);
}

static struct rdisk_queue_counters counters(void)
{
    struct rdisk_queue_counters counters;

    rdisk_queue_counters(rdisk_initiator_queue(client->session, 0),
                         &counters);
    return counters;
}

static bool exposed(void)
{
    return fake_host_exposes(client->host, buffer, sizeof(buffer));
}

static void write_and_read(void)
{
    scene_pattern(buffer, 65536, 1);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, 4096, buffer, 65536), 0);
    CHECK(scene_is_pattern(scene.disk + 4096, 65536, 1));
    memset(buffer, 0, 70000);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 4096, buffer, 65536), 0);
    CHECK(scene_is_pattern(buffer, 65536, 1));
    CHECK_EQUAL(buffer[65536], 0);
}

/* ---- direct ------------------------------------------------------------ */

static void direct_is_open(void)
{
    begin(1, RDISK_GUEST_MEMORY_DIRECT);
    write_and_read();
    CHECK(exposed());
    CHECK_EQUAL(counters().copied_bytes, 0);
    end();
}

/* ---- bounce ------------------------------------------------------------ */

static void remote_write(const struct fake_write *write)
{
    const uint8_t *address = write->address;

    CHECK(address + write->length <= buffer ||
          address >= buffer + sizeof(buffer));
}

static void bounce_is_closed(void)
{
    begin(2, RDISK_GUEST_MEMORY_BOUNCE);
    scene.watch = remote_write;
    CHECK(!exposed());
    write_and_read();
    CHECK(!exposed());
    end();
}

static void bounce_copies_reads_only(void)
{
    begin(3, RDISK_GUEST_MEMORY_BOUNCE);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, 0, buffer, 65536), 0);
    CHECK_EQUAL(counters().copied_bytes, 0);
    CHECK_EQUAL(counters().bounced, 0);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 8192), 0);
    CHECK_EQUAL(counters().copied_bytes, 8192);
    CHECK_EQUAL(counters().bounced, 1);
    end();
}

/* The other disk's key for all of the memory is of no use here. */
static void domains_are_apart(void)
{
    begin(4, RDISK_GUEST_MEMORY_BOUNCE);
    other->host = client->host;
    fake_host_env(other->host, &other->env);
    REQUIRE(scene_connect(other));
    REQUIRE(rdisk_initiator_register(other->session, buffer, sizeof(buffer),
                                     &err) == 0);
    CHECK(exposed());
    CHECK(fake_host_qp(client->host, 1)->pd !=
          fake_host_qp(client->host, 3)->pd);
    rdisk_initiator_unregister(other->session, buffer, sizeof(buffer));
    CHECK(!exposed());
    write_and_read();
    end();
}

static const struct unit_test tests[] = {
    { "direct: a read is written into the guest's memory", direct_is_open },
    { "bounce: no key opens the guest's memory", bounce_is_closed },
    { "bounce: what is read is copied, what is written is not",
      bounce_copies_reads_only },
    { "sessions with another guest-memory share no protection domain",
      domains_are_apart },
};

UNIT_SUITE("guest-memory", tests)
