/* SPDX-License-Identifier: BSD-3-Clause */
/* What the transport has of sessions that ask a server for a volume, without
 * their connections. */
#ifndef RDISK_UNIT_UNCONNECTED_H
#define RDISK_UNIT_UNCONNECTED_H

#include "transport/target/session.h"

extern struct rdisk_target unconnected_target;

/* Memory for the slots of some sessions. */
void unconnected_begin(void);
/* One that asks for one queue of 4 slots of 4 KiB. */
struct rdisk_target_session unconnected_session(void);

#endif
