/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of the vhost-user protocol (QEMU's docs/interop/vhost-user.rst), as
 * a VMM sends them. Any thread.
 */
#ifndef TESTS_VHOST_MESSAGE_H
#define TESTS_VHOST_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    GET_FEATURES = 1,
    SET_FEATURES = 2,
    SET_OWNER = 3,
    SET_MEM_TABLE = 5,
    SET_LOG_BASE = 6,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    GET_VRING_BASE = 11,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16,
    SET_VRING_ENABLE = 18,
    SET_BACKEND_REQ_FD = 21,
    GET_CONFIG = 24,
    GET_INFLIGHT_FD = 31,
    SET_INFLIGHT_FD = 32,
    ADD_MEM_REG = 37,
    REM_MEM_REG = 38,
};
/* The device's, in the channel of SET_BACKEND_REQ_FD. */
#define BACKEND_CONFIG_CHANGE 2u
#define VERSION               1u
#define REPLY                 4u
#define NEED_REPLY            8u
#define F_LOG_ALL             26
#define F_PROTOCOL_FEATURES   30
#define P_LOG_SHMFD           1
#define P_REPLY_ACK           3
#define P_BACKEND_REQ         5
#define P_CONFIG              9
#define P_INFLIGHT            12
#define P_MEM_SLOTS           15
#define CONFIG_SIZE           60u /* what QEMU 7.2 asks for */

struct message {
    uint32_t request, flags, size;
    union {
        uint64_t u64;
        struct {
            uint32_t index, num;
        } state;
        struct {
            uint32_t index, flags;
            uint64_t desc, used, avail, log;
        } addr;
        struct {
            uint32_t count, padding;
            struct {
                uint64_t guest, size, user, offset;
            } region;
        } memory;
        struct {
            uint64_t padding;
            struct {
                uint64_t guest, size, user, offset;
            } region;
        } slot;
        struct {
            uint32_t offset, size, flags;
            uint8_t bytes[256];
        } config;
        struct {
            uint64_t size, offset;
        } log;
        struct {
            uint64_t size, offset;
            uint16_t queues, queue_size;
            uint32_t padding; /* the structure is not packed */
        } inflight;
    };
} __attribute__((packed));
#define HEADER_SIZE 12u

/* With @fd unless it is -1. False: the daemon has gone. */
bool message_send(int socket, const struct message *message, int fd);
/* The same with @count descriptors, 8 at most, and the first @length bytes of
 * the message only. */
bool message_send_part(int socket, const struct message *message,
                       unsigned int length, const int *fds, unsigned int count);
/* The reply, with a descriptor if one comes and @fd is not NULL. False: the
 * daemon has gone. Prints a sentence and exits if there is none in time. */
bool message_receive(int socket, struct message *reply, int *fd);

#endif
