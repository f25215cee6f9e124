/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/config/limits.h"

#include "server/config/config.h"
#include <rdisk/env.h>

void config_target_options(const struct config *config,
                           struct rdisk_target_options *options)
{
    rdisk_target_options_init(options);
    options->address = config->listen;
    options->port = config->port;
    options->max_sessions = config->max_sessions;
    options->max_queues = config->max_queues;
    options->max_slots = config->max_slots;
    options->max_slot_size = config->max_slot_size;
    options->max_memory = config->max_memory;
    options->handshake_timeout_ms = config->handshake_timeout;
    options->max_silence_ms = config->max_silence;
    options->call_timeout_ms = config->storage_timeout;
    if (options->open_timeout_ms > config->storage_timeout) {
        options->open_timeout_ms = config->storage_timeout;
    }
    options->authenticate = config->authentication != ACCESS_METHOD_OPEN;
}

uint64_t config_slow_job(const struct config *config)
{
    return config->storage_timeout * RDISK_MSEC / 4;
}
