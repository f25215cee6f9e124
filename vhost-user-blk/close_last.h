/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file that outlives the others of a process that is killed. Any thread.
 *
 * A VMM whose connection ends lets its guest use the memory of requests in
 * flight for something else, for instance at a reset. So the queue pairs of a
 * killed process must be gone before its connection ends: the server could
 * still write what was read. But the kernel may release a socket before an RDMA
 * device.
 *
 * An exception remains: a process that reads /proc/PID/maps or smaps at the
 * moment of the kill keeps what is mapped, and so the RDMA device, for as long
 * as that takes.
 */
#ifndef VHOST_USER_BLK_CLOSE_LAST_H
#define VHOST_USER_BLK_CLOSE_LAST_H

/*
 * A descriptor that keeps what is behind @fd open until the kernel has released
 * all other files of the process, and longer than @fd. The caller closes it to
 * give that up. A negative error code.
 */
int close_last(int fd);

#endif
