/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client with requests in flight, for tests of faults. They check that no
 * byte is written to a request's buffer after its end.
 */
#ifndef RDISK_UNIT_LOAD_H
#define RDISK_UNIT_LOAD_H

#include "tests/unit/support/scene.h"

#define IOS     32u
#define IO_SIZE 16384u

extern struct scene load_scene;
extern struct rdisk_error err;
extern struct scene_io ios[IOS]; /* i uses the i-th part of … */
extern uint8_t buffer[IOS * IO_SIZE];
extern unsigned int late_writes;

extern struct scene_client *const client, *const other;

/* A scene whose client has two queues. */
void load_prepare(uint64_t seed);
/* The same, connected, with the buffer registered. */
void load_begin(uint64_t seed);
void load_end(void);

/* Submit ios[0…count-1], to both queues in turn. */
void load_submit(unsigned int count, enum rdisk_op op);
/* How many of them have completed; none more than once. */
unsigned int load_completed(unsigned int count);
/* All of them have, with @code. */
void load_all_failed(unsigned int count, int code);

#endif
