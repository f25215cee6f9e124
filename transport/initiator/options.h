/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the transport: what the options of initiator.h may be. */
#ifndef RDISK_INITIATOR_OPTIONS_H
#define RDISK_INITIATOR_OPTIONS_H

#include <rdisk/initiator.h>

#define RDISK_BOUNCE_CHUNK    (64u << 10) /* bytes */
#define RDISK_BOUNCE_SIZE_MIN RDISK_BOUNCE_CHUNK
#define RDISK_BOUNCE_SIZE_MAX (256u << 20)

/* Every option in its range, host and volume given. 0 or -EINVAL. */
int rdisk_initiator_options_check(const struct rdisk_initiator_options *options,
                                  struct rdisk_error *err);

#endif
