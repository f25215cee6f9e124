/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/control.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/verbs/mr.h"

#define BUFFERS_SIZE (2u * RDISK_CONTROL_DEPTH * RDISK_MESSAGE_MAX)

static uint8_t *recv_buffer(struct rdisk_control *control, unsigned int i)
{
    return (uint8_t *)control->buffers + (size_t)i * RDISK_MESSAGE_MAX;
}

static uint8_t *send_buffer(struct rdisk_control *control, uint64_t sequence)
{
    return recv_buffer(control,
                       RDISK_CONTROL_DEPTH +
                           (unsigned int)(sequence % RDISK_CONTROL_DEPTH));
}

int rdisk_control_create(struct rdisk_control *control,
                         const struct rdisk_env *env, struct rdma_cm_id *id,
                         struct ibv_pd *pd, struct rdisk_error *err)
{
    struct rdisk_qp_config config = {
        .counters = &control->counters,
        .send_depth = RDISK_CONTROL_DEPTH,
        .recv_depth = RDISK_CONTROL_DEPTH,
        .max_sge = 1,
        .recv_size = RDISK_MESSAGE_MAX,
    };
    int ret;

    memset(control, 0, sizeof(*control));
    control->buffers = aligned_alloc(4096, BUFFERS_SIZE);
    if (!control->buffers) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    memset(control->buffers, 0, BUFFERS_SIZE);
    control->mr = rdisk_mr_register(env->verbs, pd, control->buffers,
                                    BUFFERS_SIZE, 0, err);
    if (!control->mr) {
        free(control->buffers);
        return -ENOMEM;
    }
    config.recv_buffers = control->buffers;
    config.recv_lkey = control->mr->lkey;
    ret = rdisk_qp_create(&control->qp, env, id, pd, &config, err);
    if (ret < 0) {
        rdisk_mr_deregister(env->verbs, control->mr);
        free(control->buffers);
        return ret;
    }
    rdisk_qp_arm(&control->qp);
    control->created = true;
    return 0;
}

void rdisk_control_destroy(struct rdisk_control *control)
{
    const struct rdisk_verbs *verbs;

    if (!control->created) {
        return;
    }
    verbs = control->qp.env->verbs;
    rdisk_qp_destroy(&control->qp);
    rdisk_mr_deregister(verbs, control->mr);
    free(control->buffers);
    control->created = false;
}

bool rdisk_control_send(struct rdisk_control *control,
                        struct rdisk_wire_message *message, size_t size)
{
    struct rdisk_qp *qp = &control->qp;
    struct ibv_send_wr *wr;
    uint8_t *buffer;

    assert(size >= sizeof(*message) && size <= RDISK_MESSAGE_MAX);
    if (!rdisk_qp_room(qp) || atomic_load(&qp->broken)) {
        return false;
    }
    message->magic = htole32(RDISK_WIRE_MAGIC);
    message->version = htole16(RDISK_WIRE_VERSION);
    message->length = htole32((uint32_t)size);
    message->epoch = htole64(control->epoch);
    buffer = send_buffer(control, qp->send_posted);
    memcpy(buffer, message, size);

    wr = rdisk_qp_stage(qp);
    wr->opcode = IBV_WR_SEND;
    /* Each is signalled: its buffer is used again when it is done. */
    wr->send_flags = IBV_SEND_SIGNALED;
    wr->num_sge = 1;
    wr->sg_list[0] = (struct ibv_sge) {
        .addr = (uintptr_t)buffer,
        .length = (uint32_t)size,
        .lkey = control->mr->lkey,
    };
    rdisk_qp_post(qp);
    return !atomic_load(&qp->broken);
}

bool rdisk_control_refuse(struct rdisk_control *control,
                          enum rdisk_message_type type, uint32_t sequence,
                          enum rdisk_status status, const char *text)
{
    union {
        struct rdisk_wire_message message;
        uint8_t bytes[RDISK_MESSAGE_MAX];
    } refusal;
    size_t length = strnlen(text, RDISK_TEXT_MAX);

    memset(&refusal, 0, sizeof(refusal));
    refusal.message.type = htole16(type);
    refusal.message.sequence = htole32(sequence);
    refusal.message.status = htole16(status);
    refusal.message.text_length = htole16((uint16_t)length);
    memcpy(&refusal.message + 1, text, length);
    return rdisk_control_send(control, &refusal.message,
                              sizeof(refusal.message) + length);
}

uint64_t rdisk_control_probe(struct rdisk_control *control)
{
    struct rdisk_qp *qp = &control->qp;

    if (rdisk_qp_room(qp)) {
        struct ibv_send_wr *wr = rdisk_qp_stage(qp);

        wr->opcode = IBV_WR_RDMA_WRITE;
        wr->send_flags = IBV_SEND_SIGNALED;
        wr->wr.rdma.remote_addr = 0;
        wr->wr.rdma.rkey = 0;
        rdisk_qp_post(qp);
    }
    return qp->send_posted - 1;
}

void rdisk_control_take_events(struct rdisk_control *control)
{
    rdisk_qp_take_events(&control->qp);
    rdisk_qp_arm(&control->qp);
}

bool rdisk_control_next(struct rdisk_control *control,
                        struct rdisk_control_message *out)
{
    struct rdisk_qp_completion completion;

    assert(control->created);
    if (!rdisk_qp_next(&control->qp, &completion)) {
        return false;
    }
    /* A copy: checked once, used once, whatever else arrives. */
    memcpy(out->bytes, recv_buffer(control, completion.buffer),
           completion.length);
    rdisk_qp_replenish_buffer(&control->qp, completion.buffer);
    out->err.code = 0;
    out->check = rdisk_wire_check_message(out->bytes, completion.length,
                                          control->epoch, &out->err);
    return true;
}
