/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of dirty pages, one bit a page, which a VMM shares with its devices
 * while its guest migrates. The guest's own writes are the VMM's to notice;
 * what a device writes into the guest's memory it notes here, after it is
 * there and before the guest learns of it. Any thread.
 */
#ifndef VHOST_USER_BLK_DIRTY_LOG_H
#define VHOST_USER_BLK_DIRTY_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIRTY_LOG_PAGE 4096u /* bytes, by the vhost-user protocol */

/*
 * Mark the pages of the guest-physical addresses [@address, @address +
 * @length) in the @table of @size bytes. False, with nothing marked: they are
 * not all in the table.
 */
bool dirty_log_mark(uint8_t *table, size_t size, uint64_t address,
                    uint64_t length);

#endif
