/* SPDX-License-Identifier: BSD-3-Clause */
/* What follows from a configuration for the parts of the server. Any thread. */
#ifndef RDISK_SERVER_CONFIG_LIMITS_H
#define RDISK_SERVER_CONFIG_LIMITS_H

#include <stdint.h>

#include <rdisk/target.h>

struct config;

/* What the transport gets of @config, which must outlive @options. */
void config_target_options(const struct config *config,
                           struct rdisk_target_options *options);
/* After how many ns a job that hangs is logged: before the time limit of those
 * who wait for it. */
uint64_t config_slow_job(const struct config *config);

#endif
