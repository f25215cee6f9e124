/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests over the fake device, for callgrind to count the instructions of
 * librdisk's client and target; tests/bench/instructions runs it.
 *
 *   instructions read|write SIZE DEPTH COUNT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/result.h"
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

#define DEPTH_MAX 64u

/* A check of the scene's ends the program. */
CU_BOOL CU_assertImplementation(CU_BOOL value, unsigned int line,
                                const char *condition, const char *file,
                                const char *function, CU_BOOL fatal)
{
    if (!value) {
        fprintf(stderr, "%s:%u: not so: %s\n", file, line, condition);
        exit(1);
    }
    return value;
}

int main(int argc, char **argv)
{
    static struct scene scene;
    static struct scene_io io[DEPTH_MAX];
    struct scene_client *client = &scene.clients[0];
    struct rdisk_error err;
    uint32_t size, depth;
    uint64_t count;
    enum rdisk_op op;
    uint8_t *memory;

    if (argc != 5) {
        fprintf(stderr, "usage: instructions read|write SIZE DEPTH COUNT\n");
        return 2;
    }
    op = strcmp(argv[1], "write") ? RDISK_OP_READ : RDISK_OP_WRITE;
    size = (uint32_t)parse_number("SIZE", argv[2], SCENE_BLOCK, 65536);
    depth = (uint32_t)parse_number("DEPTH", argv[3], 1, DEPTH_MAX);
    count = parse_number("COUNT", argv[4], 1, 1u << 24);

    scene_begin(&scene, 1);
    /* With DEPTH requests at once, turns that are as long as the lab's: there a
     * request takes 2.06 packets at depth 32 (tests/e2e/test-cost.sh). */
    scene.delivers_all = true;
    REQUIRE(scene_connect(client));
    memory = aligned_alloc(4096, (size_t)depth * size);
    memset(memory, 0x5a, (size_t)depth * size);
    REQUIRE(rdisk_initiator_register(client->session, memory,
                                     (size_t)depth * size, &err) == 0);
    for (uint64_t done = 0; done < count; done += depth) {
        for (uint32_t i = 0; i < depth; i++) {
            REQUIRE(scene_submit(&io[i], client, 0, op,
                                 (done + i) * size % SCENE_SIZE,
                                 memory + (size_t)i * size, size) == 0);
        }
        rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
        scene_pump(&scene);
        for (uint32_t i = 0; i < depth; i++) {
            REQUIRE(io[i].completed == 1 && io[i].result == 0);
        }
    }
    rdisk_initiator_unregister(client->session, memory, (size_t)depth * size);
    free(memory);
    scene_end(&scene);
    return 0;
}
