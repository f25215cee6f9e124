/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of one client, side by side from the start of its volume and in
 * turn on its two queues: more of them than the queues have slots.
 */
#ifndef RDISK_UNIT_BATCH_H
#define RDISK_UNIT_BATCH_H

#include "tests/unit/support/scene.h"

#define BATCH_IOS   24u
#define BATCH_BYTES 4096u /* of each */

struct batch {
    struct scene_io ios[BATCH_IOS];
    uint8_t buffers[BATCH_IOS][BATCH_BYTES];
};

/* A scene whose client is connected with two queues, and reconnects for 60 s:
 * scene_stop_server() alone takes 30. */
void batch_begin(struct scene *scene, uint64_t seed);

/* Those from @from to before @to; writes have a pattern each. */
void batch_submit(struct batch *batch, struct scene_client *client,
                  enum rdisk_op op, unsigned int from, unsigned int to);
/* How many have ended with @result; none may have ended twice. */
unsigned int batch_completed(const struct batch *batch, int result);
/* True if every write has arrived on the disk. */
bool batch_on_disk(const struct scene *scene);
/* All writes have succeeded and arrived, and the client is READY: end the
 * scene. */
void batch_end(const struct batch *batch, struct scene *scene);

#endif
