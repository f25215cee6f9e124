/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_VHOST_RESET_H
#define TESTS_VHOST_RESET_H

#include <stdbool.h>

/*
 * Whether nothing is written any more into the memory of reads in flight once
 * the device at the socket @path has stopped or, if @killed, the connection to
 * its daemon has ended. Prints "started"; when FOLDER/read exists it reads and
 * prints "taken"; when it has the memory back, it prints "stopped", uses it for
 * something else until FOLDER/end exists, and verifies that. Returns an exit
 * status; prints what is wrong.
 */
int reset(const char *path, const char *folder, bool killed);

#endif
