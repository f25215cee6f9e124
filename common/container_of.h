/* SPDX-License-Identifier: BSD-3-Clause */
/* From a member of a structure to the whole of it. */
#ifndef RDISK_COMMON_CONTAINER_OF_H
#define RDISK_COMMON_CONTAINER_OF_H

#include <stddef.h>

#define container_of(pointer, type, member) \
    ((type *)((char *)(pointer)-offsetof(type, member)))

#endif
