/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake device keeps the rules of RC verbs. */
#include <poll.h>
#include <stdlib.h>

#include "tests/unit/fake/pair.h"

static uint64_t address(struct raw *raw, uint32_t offset)
{
    return (uintptr_t)raw->buffer + offset;
}

static bool readable(int fd)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };

    return poll(&pfd, 1, 0) == 1;
}

/* ---- Data ------------------------------------------------------------- */

static void write_moves_bytes(void)
{
    begin_pair();
    memset(client.buffer, 7, 5000);
    CHECK_EQUAL(raw_write(&client, 0, 5000, address(&server, 100),
                          server.mr->rkey, -1),
                0);
    REQUIRE(raw_poll(&client, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_SUCCESS);
    CHECK_EQUAL(wc.opcode, IBV_WC_RDMA_WRITE);
    CHECK(!memcmp(server.buffer + 100, client.buffer, 5000));
    CHECK_EQUAL(server.buffer[99], 0);
    CHECK_EQUAL(server.buffer[5100], 0);
    CHECK(!raw_poll(&server, &wc));
    end();
}

static void immediate_takes_a_receive(void)
{
    begin_pair();
    CHECK_EQUAL(raw_receive(&server, 0, 0), 0);
    client.buffer[0] = 9;
    CHECK_EQUAL(raw_write(&client, 0, 1, address(&server, 0), server.mr->rkey,
                          0x12345678),
                0);
    REQUIRE(raw_poll(&server, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_SUCCESS);
    CHECK_EQUAL(wc.opcode, IBV_WC_RECV_RDMA_WITH_IMM);
    CHECK(wc.wc_flags & IBV_WC_WITH_IMM);
    CHECK_EQUAL(ntohl(wc.imm_data), 0x12345678);
    CHECK_EQUAL(wc.byte_len, 1);
    CHECK_EQUAL(server.buffer[0], 9);
    end();
}

static void send_fills_a_receive(void)
{
    begin_pair();
    CHECK_EQUAL(raw_receive(&server, 200, 10), 0);
    memcpy(client.buffer, "hello", 5);
    CHECK_EQUAL(raw_send(&client, 0, 5), 0);
    REQUIRE(raw_poll(&server, &wc));
    CHECK_EQUAL(wc.byte_len, 5);
    CHECK(!memcmp(server.buffer + 200, "hello", 6));
    end();
}

static void zero_length_needs_no_key(void)
{
    begin_pair();
    CHECK_EQUAL(raw_receive(&server, 0, 0), 0);
    CHECK_EQUAL(raw_write(&client, 0, 0, 0, 0, 5), 0);
    REQUIRE(raw_poll(&server, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_SUCCESS);
    end();
}

/* What a refused write does to both ends. */
static void refused(enum ibv_wc_status status)
{
    CHECK_EQUAL(raw_receive(&server, 0, 16), 0);
    CHECK_EQUAL(raw_receive(&client, 0, 16), 0);
    REQUIRE(raw_poll(&server, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_WR_FLUSH_ERR);
    /* Of the two at the client, the send's comes first or second. */
    REQUIRE(raw_poll(&client, &wc));
    if (wc.wr_id & RAW_RECV) {
        CHECK_EQUAL(wc.status, IBV_WC_WR_FLUSH_ERR);
        REQUIRE(raw_poll(&client, &wc));
    }
    CHECK_EQUAL(wc.status, status);
    CHECK_EQUAL(client.qp->state, IBV_QPS_ERR);
    CHECK_EQUAL(server.qp->state, IBV_QPS_ERR);
}

static void wrong_key_is_refused(void)
{
    begin_pair();
    memset(client.buffer, 7, 16);
    CHECK_EQUAL(raw_write(&client, 0, 16, address(&server, 0), server.mr->lkey,
                          -1),
                0);
    refused(IBV_WC_REM_ACCESS_ERR);
    CHECK_EQUAL(server.buffer[0], 0);
    end();
}

static void out_of_bounds_is_refused(void)
{
    begin_pair();
    CHECK_EQUAL(raw_write(&client, 0, 16, address(&server, RAW_BUFFER - 15),
                          server.mr->rkey, -1),
                0);
    refused(IBV_WC_REM_ACCESS_ERR);
    end();
}

static void other_domain_is_refused(void)
{
    struct ibv_pd *pd;
    struct ibv_mr *mr;

    begin_pair();
    pd = server.verbs->alloc_pd(server.id->verbs);
    mr = server.verbs->reg_mr(pd, server.buffer, 16,
                              IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    CHECK_EQUAL(raw_write(&client, 0, 16, address(&server, 0), mr->rkey, -1),
                0);
    refused(IBV_WC_REM_ACCESS_ERR);
    CHECK_EQUAL(server.verbs->dealloc_pd(pd), -EBUSY);
    server.verbs->dereg_mr(mr);
    server.verbs->dealloc_pd(pd);
    end();
}

static void read_only_region_is_refused(void)
{
    struct ibv_mr *mr;

    begin_pair();
    mr = server.verbs->reg_mr(server.pd, server.buffer, 16,
                              IBV_ACCESS_LOCAL_WRITE);
    CHECK_EQUAL(raw_write(&client, 0, 16, address(&server, 0), mr->rkey, -1),
                0);
    refused(IBV_WC_REM_ACCESS_ERR);
    server.verbs->dereg_mr(mr);
    end();
}

static void missing_receive_is_retried(void)
{
    begin_pair();
    CHECK_EQUAL(raw_send(&client, 0, 8), 0);
    CHECK(!raw_poll(&client, &wc));
    CHECK_EQUAL(raw_receive(&server, 0, 16), 0);
    fake_fabric_advance(fabric, SECOND / 10);
    REQUIRE(raw_poll(&client, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_SUCCESS);
    end();
}

static void missing_receive_fails(void)
{
    begin_pair();
    CHECK_EQUAL(raw_send(&client, 0, 8), 0);
    fake_fabric_advance(fabric, SECOND);
    REQUIRE(raw_poll(&client, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_RNR_RETRY_EXC_ERR);
    CHECK_EQUAL(server.qp->state, IBV_QPS_RTS);
    end();
}

static void cut_link_times_out(void)
{
    begin_pair();
    fake_link_cut(left, right, true);
    CHECK_EQUAL(raw_write(&client, 0, 8, address(&server, 0), server.mr->rkey,
                          -1),
                0);
    fake_fabric_advance(fabric, 10 * SECOND);
    CHECK(!raw_poll(&client, &wc));
    fake_fabric_advance(fabric, 10 * SECOND);
    REQUIRE(raw_poll(&client, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_RETRY_EXC_ERR);
    CHECK_EQUAL(wc.qp_num, client.qp->qp_num);
    /* A queue pair that only waits does not detect it. */
    CHECK_EQUAL(server.qp->state, IBV_QPS_RTS);
    end();
}

static void mended_link_loses_nothing(void)
{
    begin_pair();
    fake_link_cut(left, right, true);
    CHECK_EQUAL(raw_write(&client, 0, 8, address(&server, 0), server.mr->rkey,
                          -1),
                0);
    fake_fabric_advance(fabric, 10 * SECOND);
    fake_link_cut(left, right, false);
    REQUIRE(raw_poll(&client, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_SUCCESS);
    end();
}

/* ---- Queues ----------------------------------------------------------- */

static int write_quietly(uint64_t wr_id, bool signalled)
{
    struct ibv_sge sge = {
        .addr = address(&client, 0),
        .length = 1,
        .lkey = client.mr->lkey,
    };
    struct ibv_send_wr wr = {
        .wr_id = wr_id,
        .sg_list = &sge,
        .num_sge = 1,
        .opcode = IBV_WR_RDMA_WRITE,
        .send_flags = signalled ? IBV_SEND_SIGNALED : 0,
        .wr.rdma = { address(&server, 0), server.mr->rkey },
    };
    struct ibv_send_wr *bad;

    return client.verbs->post_send(client.qp, &wr, &bad);
}

static void unsignalled_sends_keep_their_place(void)
{
    begin_pair();
    for (unsigned int i = 0; i < RAW_DEPTH - 1; i++) {
        CHECK_EQUAL(write_quietly(i, false), 0);
    }
    CHECK(!raw_poll(&client, &wc));
    CHECK_EQUAL(write_quietly(100, true), 0);
    fake_fabric_run(fabric);
    CHECK_EQUAL(write_quietly(101, true), -ENOMEM);
    REQUIRE(raw_poll(&client, &wc));
    CHECK_EQUAL(wc.wr_id, 100);
    CHECK_EQUAL(write_quietly(101, true), 0);
    end();
}

static void flush_completes_the_unsignalled(void)
{
    struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
    unsigned int flushed = 0;

    begin_pair();
    fake_link_cut(left, right, true);
    CHECK_EQUAL(write_quietly(1, false), 0);
    CHECK_EQUAL(write_quietly(2, false), 0);
    CHECK_EQUAL(raw_receive(&client, 0, 16), 0);
    CHECK_EQUAL(client.verbs->modify_qp(client.qp, &attr, IBV_QP_STATE), 0);
    while (raw_poll(&client, &wc)) {
        CHECK_EQUAL(wc.status, IBV_WC_WR_FLUSH_ERR);
        flushed++;
    }
    CHECK_EQUAL(flushed, 3);
    end();
}

static void send_needs_a_connection(void)
{
    begin();
    raw_listen(&server, 1000);
    raw_connect_start(&client, "10.0.0.2", 1000, NULL, 0);
    CHECK_EQUAL(raw_receive(&client, 0, 16), 0);
    CHECK_EQUAL(raw_send(&client, 0, 16), -EINVAL);
    end();
}

static void armed_queue_tells_once(void)
{
    struct ibv_cq *cq;
    void *context;

    begin_pair();
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(write_quietly(i, true), 0);
    }
    fake_fabric_run(fabric);
    /* Those came before it was armed. */
    CHECK_EQUAL(client.verbs->req_notify_cq(client.cq, 0), 0);
    CHECK(!readable(client.completions->fd));
    CHECK_EQUAL(write_quietly(3, true), 0);
    CHECK_EQUAL(write_quietly(4, true), 0);
    fake_fabric_run(fabric);
    CHECK(readable(client.completions->fd));
    CHECK_EQUAL(client.verbs->get_cq_event(client.completions, &cq, &context),
                0);
    CHECK(cq == client.cq && context == &client);
    CHECK_EQUAL(client.verbs->get_cq_event(client.completions, &cq, &context),
                -EAGAIN);
    CHECK(!readable(client.completions->fd));
    client.verbs->ack_cq_events(client.cq, 1);
    end();
}

static unsigned int misuses;

static void count_misuse(void *opaque, const char *sentence)
{
    misuses++;
}

static void overflow_is_misuse(void)
{
    struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };

    begin_pair();
    misuses = 0;
    fake_fabric_on_misuse(fabric, count_misuse, NULL);
    for (unsigned int i = 0; i < 2 * RAW_DEPTH; i++) {
        CHECK_EQUAL(raw_receive(&server, 0, 16), i < RAW_DEPTH ? 0 : -ENOMEM);
    }
    CHECK_EQUAL(server.verbs->modify_qp(server.qp, &attr, IBV_QP_STATE), 0);
    fake_fabric_run(fabric);
    CHECK_EQUAL(misuses, 0);
    /* The queue pair gives back a place only when its completion is taken. */
    CHECK_EQUAL(raw_receive(&server, 0, 16), -ENOMEM);
    for (unsigned int i = 0; i < RAW_DEPTH; i++) {
        CHECK_EQUAL(raw_send(&server, 0, 16), 0);
    }
    fake_fabric_run(fabric);
    CHECK_EQUAL(misuses, 0);
    end();
}

static void unacknowledged_event_is_misuse(void)
{
    struct ibv_cq *cq;
    void *context;

    begin_pair();
    misuses = 0;
    fake_fabric_on_misuse(fabric, count_misuse, NULL);
    CHECK_EQUAL(client.verbs->req_notify_cq(client.cq, 0), 0);
    CHECK_EQUAL(write_quietly(0, true), 0);
    fake_fabric_run(fabric);
    CHECK_EQUAL(client.verbs->get_cq_event(client.completions, &cq, &context),
                0);
    client.verbs->destroy_qp(client.id);
    client.qp = NULL;
    CHECK_EQUAL(client.verbs->destroy_cq(client.cq), 0);
    client.cq = NULL;
    CHECK_EQUAL(misuses, 1);
    end();
}

static void chosen_call_fails(void)
{
    begin_pair();
    fake_fail(left, FAKE_POST_SEND, 2, ENOMEM);
    CHECK_EQUAL(write_quietly(0, true), 0);
    CHECK_EQUAL(write_quietly(1, true), -ENOMEM);
    CHECK_EQUAL(write_quietly(2, true), 0);
    CHECK_EQUAL(fake_calls(left, FAKE_POST_SEND), 3);
    end();
}

static unsigned int observed;

static void observe(void *opaque, const struct fake_write *write)
{
    if (write->host == right && write->from == left) {
        observed += write->length;
    }
}

static void observer_sees_each_byte(void)
{
    begin_pair();
    observed = 0;
    fake_fabric_observe(fabric, observe, NULL);
    CHECK_EQUAL(raw_write(&client, 0, 10000, address(&server, 0),
                          server.mr->rkey, -1),
                0);
    fake_fabric_run(fabric);
    CHECK_EQUAL(observed, 10000);
    end();
}

static unsigned int resent, changed;

static void count_resend(void *opaque, const struct fake_resend *resend)
{
    CHECK(resend->host == left);
    resent += resend->length;
    changed += resend->changed ? resend->length : 0;
}

static void begin_lossy_pair(void)
{
    begin_pair();
    resent = changed = 0;
    fake_fabric_observe_resends(fabric, count_resend, NULL);
    fake_qp_lose_acks(client.qp, true);
    CHECK_EQUAL(write_quietly(1, true), 0);
    fake_fabric_run(fabric);
}

static void lost_acknowledgement_reads_again(void)
{
    begin_lossy_pair();
    CHECK_EQUAL(resent, 0);
    fake_fabric_advance(fabric, 3 * SECOND);
    CHECK_EQUAL(resent, 1);
    CHECK_EQUAL(changed, 0);
    *(uint8_t *)(uintptr_t)address(&client, 0) ^= 1;
    fake_fabric_advance(fabric, 2 * SECOND);
    CHECK_EQUAL(resent, 2);
    CHECK_EQUAL(changed, 1);
    CHECK(!raw_poll(&client, &wc));
    fake_qp_lose_acks(client.qp, false);
    fake_fabric_run(fabric);
    REQUIRE(raw_poll(&client, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_SUCCESS);
    end();
}

static void lost_acknowledgements_end_in_a_timeout(void)
{
    begin_lossy_pair();
    fake_fabric_advance(fabric, 30 * SECOND);
    REQUIRE(raw_poll(&client, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_RETRY_EXC_ERR);
    CHECK(resent > 1);
    end();
}

static void leaks_are_counted(void)
{
    char text[256];

    begin();
    CHECK_EQUAL(fake_fabric_live(fabric, text, sizeof(text)), 2);
    CHECK_SAYS(text, "2 event channels");
    end();
}

static const struct unit_test tests[] = {
    { "a write moves its bytes and no others", write_moves_bytes },
    { "a write with immediate takes a receive", immediate_takes_a_receive },
    { "a send fills a receive", send_fills_a_receive },
    { "a write of no bytes needs no key", zero_length_needs_no_key },
    { "a wrong key breaks both ends", wrong_key_is_refused },
    { "a write out of bounds breaks both ends", out_of_bounds_is_refused },
    { "a key of another protection domain opens nothing",
      other_domain_is_refused },
    { "a region without remote write opens nothing",
      read_only_region_is_refused },
    { "a missing receive is waited for", missing_receive_is_retried },
    { "a receive missing for too long breaks the sender",
      missing_receive_fails },
    { "a cut link fails what is outstanding after the retries",
      cut_link_times_out },
    { "a link mended in time loses nothing", mended_link_loses_nothing },
    { "an unsignalled send keeps its place until a later completion",
      unsignalled_sends_keep_their_place },
    { "a flush completes unsignalled sends too",
      flush_completes_the_unsignalled },
    { "a lost acknowledgement makes the sender read its memory again",
      lost_acknowledgement_reads_again },
    { "acknowledgements lost for too long break the sender",
      lost_acknowledgements_end_in_a_timeout },
    { "a send before the connection is refused", send_needs_a_connection },
    { "an armed queue reports once, new completions only",
      armed_queue_tells_once },
    { "queues of the right size do not overflow", overflow_is_misuse },
    { "destroying a queue with unacknowledged events is misuse",
      unacknowledged_event_is_misuse },
    { "the chosen call fails", chosen_call_fails },
    { "the observer sees every byte", observer_sees_each_byte },
    { "objects left alive are counted", leaks_are_counted },
};

UNIT_SUITE("fake", tests)
