/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the transport: the doorbell of a software device, when the kernel
 * refuses the one that its library rings.
 *
 * The libraries of Soft-RoCE and Soft-iWARP put work requests into memory that
 * they share with the kernel, and report it by write(2) on the device's
 * descriptor. Linux takes a write() there from the very credentials alone that
 * opened the descriptor (ib_safe_file_access()), so not from a process that has
 * changed its user since; nor from its other threads, each of which has got
 * credentials of its own then. By ioctl(2), which carries the same command, it
 * takes it from any process that has the descriptor.
 */
#ifndef RDISK_VERBS_DOORBELL_H
#define RDISK_VERBS_DOORBELL_H

#include <infiniband/verbs.h>

/*
 * Any thread. After ibv_post_send() has queued all work requests and returned
 * EACCES. 0 or a negative errno; -EINVAL: it is another device's library.
 */
int rdisk_doorbell_ring(struct ibv_qp *qp);

#endif
