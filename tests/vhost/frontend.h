/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMM's side of vhost-user-blk, for tests: memory in a memfd, one split
 * virtqueue with an event index, and requests that the caller fills in. When
 * the daemon goes it connects again, with the table of requests in flight, as
 * QEMU does.
 *
 * One thread.
 */
#ifndef TESTS_VHOST_FRONTEND_H
#define TESTS_VHOST_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>

#define FRONTEND_RING      256u /* descriptors of the virtqueue */
#define FRONTEND_DEPTH_MAX 64u  /* requests at once: header, data, status */

#define FRONTEND_LOG_PAGE 4096u /* bytes; a bit of the log of dirty pages */

struct frontend_request {
    struct virtio_blk_outhdr header;
    uint8_t status;
};

struct frontend {
    const char *path;
    int sock;    /* -1: not connected */
    int backend; /* where messages of the device come; -1: none */
    int memory_fd;
    uint8_t *memory; /* ring, requests, then data */
    uint64_t memory_size;
    uint64_t data_size; /* bytes for each request */
    int kick_fd, call_fd;
    int inflight_fd;
    uint64_t inflight_size, inflight_offset;
    uint16_t table_size; /* descriptors of a queue in that table */
    uint64_t offered, features;
    unsigned int queue; /* index of the virtqueue; others are not started */
    int more_fd;        /* memory that was plugged in; -1: none */
    uint8_t *more;
    uint64_t more_size;
    uint8_t *log; /* NULL: none yet; a bit for each page of the memory */
    uint64_t log_size;
    struct virtio_blk_config config;
    uint16_t used_seen, avail, kicked; /* indices */
    unsigned int reconnects;
    bool reconnect;  /* when the daemon goes; else that is an error */
    bool private;    /* its memory table has no descriptor */
    bool expendable; /* when the daemon goes, frontend_wait() returns -1 */
};

/* Connect and start the device. Prints a sentence and exits if that fails. */
void frontend_start(struct frontend *frontend, const char *path,
                    uint64_t data_size);
/* The same with virtqueue @queue. */
void frontend_start_queue(struct frontend *frontend, const char *path,
                          uint64_t data_size, unsigned int queue);
/* The same, of a guest that came by migration: its ring is used already. */
void frontend_start_at(struct frontend *frontend, const char *path,
                       uint64_t data_size, uint16_t index);
/* The same with a table of requests in flight for other than FRONTEND_RING
 * descriptors. */
void frontend_start_table(struct frontend *frontend, const char *path,
                          uint64_t data_size, uint16_t table_size);
/* The same of a VMM that does not share the guest's memory. Does not return. */
void frontend_start_private(const char *path) __attribute__((noreturn));
void frontend_stop(struct frontend *frontend);
/* Stop the virtqueue, as a VMM does when the guest resets the device. False:
 * the daemon has gone. */
bool frontend_stop_ring(struct frontend *frontend);

/* The guest resets the device and starts it again. Nothing is in flight. */
void frontend_reset(struct frontend *frontend);
/* The VMM ends without a word. */
void frontend_abandon(struct frontend *frontend);
/* The device has told, within @timeout_ms, that frontend->config is another,
 * which has been read. Connects again if the daemon goes. */
bool frontend_config_changed(struct frontend *frontend, int timeout_ms);

/* Have the device log the pages that it changes in frontend->log, or no more.
 * On at most once. */
void frontend_log(struct frontend *frontend, bool on);

struct vring_desc *frontend_descriptors(struct frontend *frontend);
struct frontend_request *frontend_request(struct frontend *frontend,
                                          unsigned int slot);
uint8_t *frontend_data(struct frontend *frontend, unsigned int slot);
/* Where that is for the device. */
uint64_t frontend_address(const struct frontend *frontend, const void *pointer);

/* Plug memory in, of huge pages if @huge, and out again: frontend->more.
 * Requests may be in flight. */
void frontend_plug(struct frontend *frontend, uint64_t size, bool huge);
void frontend_unplug(struct frontend *frontend);
/* Take the memory that has the ring from the device, and give it back, as a VMM
 * does when its memory table changes. Nothing is in flight. */
void frontend_withdraw_ring(struct frontend *frontend);
void frontend_return_ring(struct frontend *frontend);

/* Put a request of @length bytes into the ring, as slot @slot. */
void frontend_submit(struct frontend *frontend, unsigned int slot,
                     uint32_t type, uint64_t sector, uint32_t length);
/* The same with its data elsewhere in the guest's memory. */
void frontend_submit_at(struct frontend *frontend, unsigned int slot,
                        uint32_t type, uint64_t sector, uint8_t *data,
                        uint32_t length);
/* The same, its descriptors in an indirect table. */
void frontend_submit_indirect(struct frontend *frontend, unsigned int slot,
                              uint32_t type, uint64_t sector, uint32_t length);
/* Put a chain that begins at descriptor @head into the ring. */
void frontend_submit_chain(struct frontend *frontend, uint16_t head);
/* Tell the device of what was put there since. */
void frontend_kick(struct frontend *frontend);
/* Until the device has taken the request of @slot, of virtqueue 0, from the
 * ring, by its table of requests in flight. Prints a sentence and exits if it
 * does not. */
void frontend_wait_taken(struct frontend *frontend, unsigned int slot);
/* The slot of a request that has ended, or -1 after @timeout_ms. */
int frontend_wait(struct frontend *frontend, int timeout_ms);

#endif
