/* SPDX-License-Identifier: BSD-3-Clause */
/* Two hosts, and a connection between them by bare verbs; one of each for the
 * file that includes this. */
#ifndef RDISK_UNIT_FAKE_PAIR_H
#define RDISK_UNIT_FAKE_PAIR_H

#include "tests/unit/support/raw.h"
#include "tests/unit/support/unit.h"

#define SECOND 1000000000ull

static struct fake_fabric *fabric;
static struct fake_host *left, *right;
static struct raw client, server;
static struct ibv_wc wc;

static inline void begin(void)
{
    fabric = fake_fabric_new(1);
    left = fake_host_add(fabric, "10.0.0.1");
    right = fake_host_add(fabric, "10.0.0.2");
    raw_init(&client, fabric, left);
    raw_init(&server, fabric, right);
}

static inline void begin_pair(void)
{
    begin();
    raw_pair(&client, &server);
}

static inline void end(void)
{
    raw_unpair(&client, &server);
    CHECK_EQUAL(fake_fabric_free(fabric), 0);
}

#endif
