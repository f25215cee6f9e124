/* SPDX-License-Identifier: BSD-3-Clause */
/* A scene of one client with one queue, and memory for its requests. */
#ifndef RDISK_UNIT_LONE_H
#define RDISK_UNIT_LONE_H

#include "tests/unit/support/scene.h"

extern struct scene scene;
extern struct scene_client *const lone;
extern uint8_t memory[4 << 20]; /* page-aligned */

/* It is connected, and the memory is zeroes. */
void lone_begin(uint64_t seed);
/* The memory is registered, too. */
void lone_begin_registered(uint64_t seed);
void lone_end_registered(void);

struct rdisk_queue *lone_queue(void);
struct rdisk_queue_counters lone_counters(void);

#endif
