/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/load.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/support/unit.h"

struct scene load_scene;
struct scene_client *const client = &load_scene.clients[0];
struct scene_client *const other = &load_scene.clients[1];
struct rdisk_error err;
struct scene_io ios[IOS];
uint8_t buffer[IOS * IO_SIZE] __attribute__((aligned(4096)));
unsigned int late_writes;

/* Bytes from the fabric may land in a request's buffer only until it ends. */
static void watch(const struct fake_write *write)
{
    uintptr_t start = (uintptr_t)write->address;
    uintptr_t base = (uintptr_t)buffer;

    if (write->host != client->host || start < base ||
        start >= base + sizeof(buffer)) {
        return;
    }
    if (ios[(start - base) / IO_SIZE].completed) {
        late_writes++;
    }
}

void load_prepare(uint64_t seed)
{
    memset(ios, 0, sizeof(ios));
    memset(buffer, 0, sizeof(buffer));
    late_writes = 0;
    scene_begin(&load_scene, seed);
    client->options.queues = 2;
    load_scene.watch = watch;
}

void load_begin(uint64_t seed)
{
    load_prepare(seed);
    REQUIRE(scene_connect(client));
    REQUIRE(rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                     &err) == 0);
}

void load_end(void)
{
    if (client->session) {
        rdisk_initiator_unregister(client->session, buffer, sizeof(buffer));
    }
    scene_end(&load_scene);
    CHECK_EQUAL(late_writes, 0);
}

void load_submit(unsigned int count, enum rdisk_op op)
{
    for (unsigned int i = 0; i < count; i++) {
        if (op == RDISK_OP_WRITE) {
            scene_pattern(buffer + i * IO_SIZE, IO_SIZE, i);
        }
        CHECK_EQUAL(scene_submit(&ios[i], client, i % 2, op,
                                 (uint64_t)i * IO_SIZE, buffer + i * IO_SIZE,
                                 IO_SIZE),
                    0);
    }
    for (unsigned int i = 0; i < 2; i++) {
        rdisk_queue_kick(rdisk_initiator_queue(client->session, i));
    }
}

unsigned int load_completed(unsigned int count)
{
    unsigned int done = 0;

    for (unsigned int i = 0; i < count; i++) {
        CHECK(ios[i].completed <= 1);
        done += ios[i].completed;
    }
    return done;
}

void load_all_failed(unsigned int count, int code)
{
    CHECK_EQUAL(load_completed(count), count);
    for (unsigned int i = 0; i < count; i++) {
        CHECK_EQUAL(ios[i].result, code);
    }
    CHECK_EQUAL(client->outstanding, 0);
}
