/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of rdiskd. */
#ifndef RDISK_SERVER_CONFIG_COMMAND_LINE_H
#define RDISK_SERVER_CONFIG_COMMAND_LINE_H

#include "server/config/config.h"

/* As main() got it. */
struct command_line {
    int argc;
    char **argv;
};

/*
 * Fill @config, which config_init() has made, from the file and the options,
 * and check it. 0, or a negative errno with @err. Reads files, which may block:
 * not in a thread that others wait for. One thread at a time.
 */
int options_read(const struct command_line *line, struct config *config,
                 struct rdisk_error *err);

/*
 * The same, and what ends the program. Fill @config from the file and the
 * options. Returns -1 to go on, else the exit status to end with: help and
 * errors have been printed then.
 */
int options_parse(const struct command_line *line, struct config *config);

#endif
