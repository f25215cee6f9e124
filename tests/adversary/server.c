/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server by bare verbs that writes into its client's memory where, or when,
 * it should not:
 *
 *   adversary-server ADDRESS PORT
 *       honest | late | before | behind | across | old | stranger
 *
 * It serves one client and its reads of 4096 bytes; with "honest" nothing
 * else, with "late" it writes after the second answer, with "before", "behind"
 * and "across" outside of the segment of the second read, the last one from
 * inside past its end, with "old" by the first read's key into the
 * second's segment, with "stranger" into that segment through the control
 * queue. It tells how that ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "end.h"

#define ANSWER 32768u /* where in the buffer answers are made */
#define WRITE  40960u /* and what does not belong there */
#define STRAY  64u    /* bytes of that */

static struct end listener, control, data;

static void reply(enum rdisk_message_type type, const void *message,
                  size_t length, uint64_t epoch)
{
    memcpy(control.buffer + END_SAY, message, length);
    end_say(&control, type, length, epoch);
}

static void let_in(void)
{
    struct rdisk_wire_hello hello = { .features = 0 };
    struct rdisk_wire_open_reply open = {
        .session = htole64(1),
        .epoch = htole64(1),
        .size = htole64(1 << 20),
        .block_size = htole32(512),
        .queues = htole16(1),
        .slots = htole16(1),
        .slot_size = htole32(4096),
    };
    struct rdisk_wire_accept accept = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
    };

    end_take(&control, &listener);
    end_accept(&control, &accept, sizeof(accept));
    if (!end_hear(&control)) {
        die("no HELLO");
    }
    reply(RDISK_MSG_HELLO_REPLY, &hello, sizeof(hello), 0);
    if (!end_hear(&control)) {
        die("no OPEN");
    }
    reply(RDISK_MSG_OPEN_REPLY, &open, sizeof(open), 0);
    end_take(&data, &listener);
    accept.queue = htole16(1);
    accept.slots = htole16(1);
    accept.max_segments = htole16(RDISK_SEGMENTS_MAX);
    accept.slot_size = htole32(4096);
    accept.base = htole64((uintptr_t)data.buffer + END_MESSAGES + 8192);
    accept.rkey = htole32(data.mr->rkey);
    accept.stride = htole32(RDISK_HEADER_AREA + 4096);
    end_accept(&data, &accept, sizeof(accept));
}

/* The next read: its only segment. */
static struct rdisk_wire_segment next_read(void)
{
    struct rdisk_wire_request *wire =
        (struct rdisk_wire_request *)(data.buffer + END_MESSAGES + 8192 +
                                      RDISK_HEADER_AREA) -
        1;
    struct ibv_wc wc;

    if (!end_receive(&data, &wc, END_WAIT_MS) || wc.status != IBV_WC_SUCCESS ||
        wire->opcode != RDISK_OP_READ || le16toh(wire->segments) != 1) {
        die("no read of one segment");
    }
    return ((struct rdisk_wire_segment *)wire)[-1];
}

static void answer(const struct rdisk_wire_segment *segment, uint8_t sequence)
{
    memset(data.buffer + ANSWER, 0x40 + sequence, 4096);
    if (end_write(&data, ANSWER, 4096, le64toh(segment->address),
                  le32toh(segment->key),
                  rdisk_imm_answer(0, sequence, RDISK_STATUS_OK)) !=
        IBV_WC_SUCCESS) {
        die("an honest answer does not arrive");
    }
}

/* True if the client's device carries it out. */
static bool intrude(struct end *through, uint64_t address, rdisk_le32 key)
{
    enum ibv_wc_status status;

    memset(through->buffer + WRITE, 0xee, STRAY);
    status = end_write(through, WRITE, STRAY, address, le32toh(key), -1);
    printf("the device says: %s\n", ibv_wc_status_str(status));
    fflush(stdout);
    return status == IBV_WC_SUCCESS;
}

int main(int argc, char **argv)
{
    struct rdisk_wire_segment first, second;
    const char *how;
    bool well = true;

    if (argc != 4) {
        die("usage: adversary-server ADDRESS PORT "
            "honest|late|before|behind|across|old|stranger");
    }
    how = argv[3];
    end_listen(&listener, argv[1], argv[2]);
    puts("ready");
    fflush(stdout);
    let_in();
    first = next_read();
    answer(&first, 0);
    second = next_read();
    if (!strcmp(how, "before")) {
        well = intrude(&data, le64toh(second.address) - STRAY, second.key);
    } else if (!strcmp(how, "behind")) {
        well = intrude(&data, le64toh(second.address) + 4096, second.key);
    } else if (!strcmp(how, "across")) {
        well = intrude(&data, le64toh(second.address) + 4096 - STRAY / 2,
                       second.key);
    } else if (!strcmp(how, "old")) {
        well = intrude(&data, le64toh(second.address), first.key);
    } else if (!strcmp(how, "stranger")) {
        well = intrude(&control, le64toh(second.address), second.key);
    }
    if (well) {
        answer(&second, 1);
    }
    if (!strcmp(how, "late")) {
        /* Until the client has gone on. */
        next_read();
        intrude(&data, le64toh(second.address), second.key);
    } else if (well) {
        /* A client that ends with an open window makes rxe's kernel warn. */
        first = next_read();
        answer(&first, 2);
    }
    end_disconnected(&data, END_WAIT_MS);
    return 0;
}
