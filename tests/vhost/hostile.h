/* SPDX-License-Identifier: BSD-3-Clause */
/* Guests that break the rules of virtqueues, for vhost-client. Each connects at
 * the socket @path, prints what it has done, and returns 0. */
#ifndef TESTS_VHOST_HOSTILE_H
#define TESTS_VHOST_HOSTILE_H

/* Each kind of broken chain, with a device of its own. */
int hostile_chains(const char *path);
/* One broken chain that stays in flight and comes along with each connection,
 * for @duration seconds or until there is a file @stop, which may be NULL. */
int hostile_broken(const char *path, double duration, const char *stop);

#endif
