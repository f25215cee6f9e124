/* SPDX-License-Identifier: BSD-3-Clause */
/* A folder on a file system that shares blocks between files. */
#ifndef RDISK_UNIT_REFLINK_H
#define RDISK_UNIT_REFLINK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A new folder in @path: on /tmp if that shares blocks; else on an XFS in a
 * file there, mounted for this process alone, which needs root and mkfs.xfs.
 * False: there is none, which is printed.
 */
bool reflink_folder(char *path, size_t size);
/* Of ext4 or tmpfs, which do not. */
void plain_folder(char *path, size_t size);
/* Remove the folder with all that is in it. */
void remove_folder(const char *path);

#endif
