/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of rdiskd. */
#ifndef RDISK_SERVER_CONFIG_COMMAND_LINE_H
#define RDISK_SERVER_CONFIG_COMMAND_LINE_H

#include "server/config/config.h"

/*
 * Fill @config from the file and the options. Returns -1 to go on, else the
 * exit status to end with: help and errors have been printed then.
 */
int options_parse(int argc, char **argv, struct config *config);

#endif
