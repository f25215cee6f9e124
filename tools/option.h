/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of the command line, each of which is a letter here. */
#ifndef RDISK_TOOLS_OPTION_H
#define RDISK_TOOLS_OPTION_H

#include "tools/rdisk.h"

#define DEFAULT_CONTROL "/run/rdiskd/control.sock"

/* Set what the options say in @arguments, and optind. Returns -1 to go on, else
 * the exit status. */
int options_read(int argc, char **argv, struct arguments *arguments);

/* The name of an option, without the dashes. */
const char *option_name(int letter);
/* What each of these options is for; NULL: of all. */
void options_print(const char *letters);
/* " --NAME" of each of them. */
void options_print_names(const char *letters);

#endif
