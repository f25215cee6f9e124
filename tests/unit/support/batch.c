/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/batch.h"

#include "tests/unit/support/unit.h"

void batch_begin(struct scene *scene, uint64_t seed)
{
    scene_begin(scene, seed);
    scene->clients[0].options.queues = 2;
    scene->clients[0].options.reconnect_delay_ms = 60000;
    REQUIRE(scene_connect(&scene->clients[0]));
}

void batch_submit(struct batch *batch, struct scene_client *client,
                  enum rdisk_op op, unsigned int from, unsigned int to)
{
    for (unsigned int i = from; i < to; i++) {
        if (op == RDISK_OP_WRITE) {
            scene_pattern(batch->buffers[i], BATCH_BYTES, i);
        }
        CHECK_EQUAL(scene_submit(&batch->ios[i], client, i % 2, op,
                                 (uint64_t)i * BATCH_BYTES, batch->buffers[i],
                                 BATCH_BYTES),
                    0);
    }
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 1));
}

unsigned int batch_completed(const struct batch *batch, int result)
{
    unsigned int count = 0;

    for (unsigned int i = 0; i < BATCH_IOS; i++) {
        CHECK(batch->ios[i].completed <= 1);
        count += batch->ios[i].completed && batch->ios[i].result == result;
    }
    return count;
}

bool batch_on_disk(const struct scene *scene)
{
    for (unsigned int i = 0; i < BATCH_IOS; i++) {
        if (!scene_is_pattern(scene->disk + (size_t)i * BATCH_BYTES,
                              BATCH_BYTES, i)) {
            return false;
        }
    }
    return true;
}

void batch_end(const struct batch *batch, struct scene *scene)
{
    CHECK_EQUAL(scene->clients[0].state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(batch_completed(batch, 0), BATCH_IOS);
    CHECK(batch_on_disk(scene));
    scene_end(scene);
}
