/* SPDX-License-Identifier: BSD-3-Clause */
/* A VMM that sends what it should not, and one that ends when it should not. */
#ifndef TESTS_VHOST_VMM_H
#define TESTS_VHOST_VMM_H

/* All return the exit status. */

/* Messages that are refused, each in a connection of its own. */
int vmm_messages(const char *path);
/* random.c: @count connections of random messages, of the seeds from @seed on.
 * Each is closed by the daemon. */
int vmm_random(const char *path, unsigned long seed, unsigned long count);
/* The guest resets its device @count times in one connection, which lasts until
 * there is a file @folder/end. */
int vmm_resets(const char *path, unsigned long count, const char *folder);
/* Ends while a message waits for requests in flight, when there is a file
 * @folder/read. */
int vmm_leaves(const char *path, const char *folder);
/* Sends such a message with requests in flight, when there is a file
 * @folder/read, and connects again: they end. */
int vmm_breaks(const char *path, const char *folder);
/* Waits until the device says that it has @sectors. */
int vmm_grows(const char *path, unsigned long sectors);

#endif
