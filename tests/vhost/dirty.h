/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_VHOST_DIRTY_H
#define TESTS_VHOST_DIRTY_H

/* Whether the device at the socket @path logs each page that it changes, and
 * no page that it does not. Returns an exit status; prints what is wrong. */
int dirty(const char *path);

#endif
