/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake device keeps the rules of rdma_cm. */
#include <stdlib.h>

#include "tests/unit/fake/pair.h"

static void private_data_is_padded(void)
{
    uint8_t zeros[256] = { 0 };

    begin();
    raw_listen(&server, 1000);
    raw_connect_start(&client, "10.0.0.2", 1000, "request", 7);
    REQUIRE(raw_request(&server));
    CHECK_EQUAL(server.data_length, 56);
    CHECK(!memcmp(server.data, "request", 7));
    CHECK(!memcmp(server.data + 7, zeros, 49));
    raw_accept(&server, "reply", 5);
    REQUIRE(raw_event(&client));
    CHECK_EQUAL(client.event, RDMA_CM_EVENT_ESTABLISHED);
    CHECK_EQUAL(client.data_length, 196);
    CHECK(!memcmp(client.data, "reply", 5));
    CHECK(!memcmp(client.data + 5, zeros, 191));
    end();
}

static void too_much_private_data(void)
{
    uint8_t data[57] = { 0 };
    struct rdma_conn_param param = {
        .private_data = data,
        .private_data_len = sizeof(data),
    };

    begin();
    raw_listen(&server, 1000);
    raw_connect_start(&client, "10.0.0.2", 1000, data, 56);
    CHECK_EQUAL(client.verbs->connect(client.id, &param), -EINVAL);
    end();
}

static void rejection_carries_data(void)
{
    begin();
    raw_listen(&server, 1000);
    raw_connect_start(&client, "10.0.0.2", 1000, NULL, 0);
    REQUIRE(raw_request(&server));
    CHECK_EQUAL(server.verbs->reject(server.id, "no", 2), 0);
    REQUIRE(raw_event(&client));
    CHECK_EQUAL(client.event, RDMA_CM_EVENT_REJECTED);
    CHECK_EQUAL(client.status, 28);
    CHECK_EQUAL(client.data_length, 148);
    CHECK(!memcmp(client.data, "no", 3));
    end();
}

static void no_listener(void)
{
    begin();
    CHECK(!raw_connect(&client, "10.0.0.2", 1000, NULL, 0));
    CHECK_EQUAL(client.event, RDMA_CM_EVENT_REJECTED);
    CHECK_EQUAL(client.status, 8);
    end();
}

static void no_answer(void)
{
    begin();
    raw_listen(&server, 1000);
    fake_link_cut(left, right, true);
    raw_connect_start(&client, "10.0.0.2", 1000, NULL, 0);
    CHECK(!raw_event(&client));
    fake_fabric_advance(fabric, 61 * SECOND);
    REQUIRE(raw_event(&client));
    CHECK_EQUAL(client.event, RDMA_CM_EVENT_UNREACHABLE);
    CHECK_EQUAL(client.status, -ETIMEDOUT);
    end();
}

static void no_such_address(void)
{
    struct sockaddr_in sin = { .sin_family = AF_INET };

    begin();
    sin.sin_addr.s_addr = htonl(0x0a000063);
    REQUIRE(client.verbs->create_id(client.channel, &client.id, NULL) == 0);
    REQUIRE(client.verbs->resolve_addr(client.id, (struct sockaddr *)&sin,
                                       500) == 0);
    CHECK(!raw_event(&client));
    fake_fabric_advance(fabric, SECOND / 2);
    REQUIRE(raw_event(&client));
    CHECK_EQUAL(client.event, RDMA_CM_EVENT_ADDR_ERROR);
    CHECK(client.id->verbs == NULL);
    end();
}

static void disconnect_reaches_both(void)
{
    begin_pair();
    CHECK_EQUAL(raw_receive(&client, 0, 16), 0);
    CHECK_EQUAL(client.verbs->disconnect(client.id), 0);
    REQUIRE(raw_poll(&client, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_WR_FLUSH_ERR);
    REQUIRE(raw_event(&server));
    CHECK_EQUAL(server.event, RDMA_CM_EVENT_DISCONNECTED);
    /* The other end's queue pair is left to its owner. */
    CHECK_EQUAL(server.qp->state, IBV_QPS_RTS);
    CHECK(!raw_event(&client));
    CHECK_EQUAL(server.verbs->disconnect(server.id), 0);
    REQUIRE(raw_event(&client));
    CHECK_EQUAL(client.event, RDMA_CM_EVENT_DISCONNECTED);
    fake_fabric_advance(fabric, 2 * SECOND);
    REQUIRE(raw_event(&client) && raw_event(&server));
    CHECK_EQUAL(client.event, RDMA_CM_EVENT_TIMEWAIT_EXIT);
    CHECK_EQUAL(server.event, RDMA_CM_EVENT_TIMEWAIT_EXIT);
    end();
}

static void destroyed_id_withdraws_request(void)
{
    begin();
    raw_listen(&server, 1000);
    raw_connect_start(&client, "10.0.0.2", 1000, NULL, 0);
    REQUIRE(raw_request(&server));
    client.verbs->destroy_qp(client.id);
    client.qp = NULL;
    client.verbs->destroy_id(client.id);
    client.id = NULL;
    REQUIRE(raw_event(&server));
    CHECK_EQUAL(server.event, RDMA_CM_EVENT_REJECTED);
    end();
}

static void device_removal_is_told(void)
{
    begin_pair();
    fake_host_remove_device(left, true);
    REQUIRE(raw_event(&client));
    CHECK_EQUAL(client.event, RDMA_CM_EVENT_DEVICE_REMOVAL);
    CHECK_EQUAL(raw_receive(&client, 0, 16), -EIO);
    end();
}

static const struct unit_test tests[] = {
    { "a receiver sees private data padded with zeros",
      private_data_is_padded },
    { "more than 56 bytes in a REQ are refused", too_much_private_data },
    { "a rejection carries its private data", rejection_carries_data },
    { "a port on which no program listens rejects", no_listener },
    { "an unanswered REQ ends as UNREACHABLE", no_answer },
    { "an address that no host has ends in ADDR_ERROR", no_such_address },
    { "a disconnect reaches both ends, then time-wait",
      disconnect_reaches_both },
    { "destroying a connecting id withdraws its request",
      destroyed_id_withdraws_request },
    { "the removal of a device is reported to each id",
      device_removal_is_told },
};

UNIT_SUITE("fake-connection", tests)
