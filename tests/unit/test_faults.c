/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What breaks under requests: every request ends exactly once, not before the
 * device has let go of its memory, and nothing is left behind.
 */
#include <errno.h>
#include <stdlib.h>

#include "raw.h"
#include "scene.h"
#include "unit.h"

#define IOS         32u
#define IO_SIZE     16384u

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct scene_client *other = &scene.clients[1];
static struct rdisk_error err;
static uint8_t buffer[IOS * IO_SIZE] __attribute__((aligned(4096)));
static struct scene_io ios[IOS];
static unsigned int late_writes;

/* ---- No late DMA ------------------------------------------------------- */

/* Bytes from the fabric may land in a request's buffer only until it ends. */
static void watch(const struct fake_write *write)
{
    uintptr_t start = (uintptr_t)write->address;
    uintptr_t base = (uintptr_t)buffer;

    if (write->host != client->host || start < base ||
        start >= base + sizeof(buffer)) {
        return;
    }
    if (ios[(start - base) / IO_SIZE].completed) {
        late_writes++;
    }
}

static void begin_unconnected(uint64_t seed)
{
    memset(ios, 0, sizeof(ios));
    memset(buffer, 0, sizeof(buffer));
    late_writes = 0;
    scene_begin(&scene, seed);
    client->options.queues = 2;
    scene.watch = watch;
}

static void begin(uint64_t seed)
{
    begin_unconnected(seed);
    REQUIRE(scene_connect(client));
    REQUIRE(rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                     &err) == 0);
}

static void end(void)
{
    if (client->session) {
        rdisk_initiator_unregister(client->session, buffer, sizeof(buffer));
    }
    scene_end(&scene);
    CHECK_EQUAL(late_writes, 0);
}

static void submit(unsigned int count, enum rdisk_op op)
{
    for (unsigned int i = 0; i < count; i++) {
        if (op == RDISK_OP_WRITE) {
            scene_pattern(buffer + i * IO_SIZE, IO_SIZE, i);
        }
        CHECK_EQUAL(scene_submit(&ios[i], client, i % 2, op,
                                 (uint64_t)i * IO_SIZE, buffer + i * IO_SIZE,
                                 IO_SIZE), 0);
    }
    for (unsigned int i = 0; i < 2; i++) {
        rdisk_queue_kick(rdisk_initiator_queue(client->session, i));
    }
}

static unsigned int completed(unsigned int count)
{
    unsigned int done = 0;

    for (unsigned int i = 0; i < count; i++) {
        CHECK(ios[i].completed <= 1);
        done += ios[i].completed;
    }
    return done;
}

static void all_failed(unsigned int count, int code)
{
    CHECK_EQUAL(completed(count), count);
    for (unsigned int i = 0; i < count; i++) {
        CHECK_EQUAL(ios[i].result, code);
    }
    CHECK_EQUAL(client->outstanding, 0);
}

/* ---- The server goes --------------------------------------------------- */

static void server_process_dies(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        begin(seed);
        scene.park = true;
        submit(IOS, RDISK_OP_READ);
        scene_pump(&scene);
        CHECK_EQUAL(completed(IOS), 0);
        fake_host_kill(scene.server_host, FAKE_PROCESS_DIES);
        scene_pump(&scene);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
        CHECK_EQUAL(completed(IOS), IOS);
        for (unsigned int i = 0; i < IOS; i++) {
            CHECK(ios[i].result < 0);
        }
        end();
    }
}

static void server_loses_power(void)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        begin(seed);
        scene.park = true;
        submit(IOS, RDISK_OP_WRITE);
        scene_pump(&scene);
        fake_host_kill(scene.server_host, FAKE_POWER_FAILS);
        scene_advance(&scene, 20000);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
        all_failed(IOS, rdisk_initiator_error(client->session)->code);
        fake_host_start(scene.server_host);
        end();
    }
}

static void completion_waits_for_the_flush(void)
{
    begin(1);
    scene.park = true;
    submit(4, RDISK_OP_READ);
    scene_pump(&scene);
    fake_qp_break(fake_host_qp(client->host, 1));
    /* The queue pair is in error; of its flush nothing has come yet. */
    rdisk_queue_process(rdisk_initiator_queue(client->session, 0));
    rdisk_queue_process(rdisk_initiator_queue(client->session, 1));
    CHECK_EQUAL(completed(4), 0);
    CHECK(fake_fabric_step(scene.fabric));
    rdisk_queue_process(rdisk_initiator_queue(client->session, 0));
    rdisk_queue_process(rdisk_initiator_queue(client->session, 1));
    CHECK_EQUAL(completed(4), 0);
    scene_pump(&scene);
    CHECK_EQUAL(completed(4), 4);
    end();
}

static void one_queue_takes_all(void)
{
    begin(1);
    scene.park = true;
    submit(IOS, RDISK_OP_READ);
    scene_pump(&scene);
    /* 0 is the control queue's, 1 and 2 are the data queues'. */
    fake_qp_break(fake_host_qp(client->host, 2));
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(completed(IOS), IOS);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, -EIO);
    end();
}

static void broken_control_takes_all(void)
{
    begin(1);
    scene.park = true;
    submit(IOS, RDISK_OP_READ);
    scene_pump(&scene);
    fake_qp_break(fake_host_qp(client->host, 0));
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(completed(IOS), IOS);
    end();
}

static void server_stops(void)
{
    unsigned int taken, succeeded = 0;

    begin(1);
    scene.park = true;
    submit(IOS, RDISK_OP_READ);
    scene_pump(&scene);
    CHECK(scene.parked_count > 0);
    taken = scene.parked_count;
    rdisk_target_stop(scene.target, "going home");
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_DRAINING);
    CHECK_EQUAL(completed(IOS), 0);
    scene.park = false;
    scene_unpark(&scene, taken);
    scene_advance(&scene, 1000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text, "going home");
    CHECK_EQUAL(completed(IOS), IOS);
    for (unsigned int i = 0; i < IOS; i++) {
        CHECK(ios[i].result == 0 || ios[i].result == -ESHUTDOWN);
        succeeded += ios[i].result == 0;
    }
    /* What the server has taken is answered, the rest was never sent. */
    CHECK_EQUAL(succeeded, taken);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    end();
}

static void server_stops_impatiently(void)
{
    begin(1);
    scene.park = true;
    submit(IOS, RDISK_OP_READ);
    scene_pump(&scene);
    rdisk_target_stop(scene.target, "going home");
    scene_advance(&scene, 30000);
    all_failed(IOS, -ESHUTDOWN);
    /* The owner still works on what it has taken. */
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    CHECK_EQUAL(scene.closes, 0);
    scene.park = false;
    scene_unpark(&scene, scene.parked_count);
    scene_advance(&scene, 1000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    end();
}

/* ---- Time -------------------------------------------------------------- */

static void request_times_out(void)
{
    begin_unconnected(1);
    client->options.request_timeout_ms = 2000;
    client->options.heartbeat_ms = 0;
    REQUIRE(scene_connect(client));
    REQUIRE(rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                     &err) == 0);
    scene.park = true;
    submit(IOS, RDISK_OP_READ);
    scene_advance(&scene, 1990);
    CHECK_EQUAL(completed(IOS), 0);
    scene_advance(&scene, 600);
    all_failed(IOS, -ETIMEDOUT);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "request-timeout=2");
    /* The answers come after all, to nobody. */
    scene.park = false;
    scene_unpark(&scene, scene.parked_count);
    scene_pump(&scene);
    end();
}

static void request_that_never_times_out(void)
{
    begin_unconnected(1);
    client->options.request_timeout_ms = 0;
    REQUIRE(scene_connect(client));
    scene.park = true;
    CHECK_EQUAL(scene_submit(&ios[0], client, 0, RDISK_OP_FLUSH, 0, NULL, 0),
                0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_advance(&scene, 7200000);
    CHECK_EQUAL(ios[0].completed, 0);
    scene.park = false;
    scene_unpark(&scene, 1);
    scene_pump(&scene);
    CHECK_EQUAL(ios[0].completed, 1);
    CHECK_EQUAL(ios[0].result, 0);
    end();
}

static void short_outage_is_survived(void)
{
    begin(1);
    submit(IOS, RDISK_OP_WRITE);
    fake_link_cut(client->host, scene.server_host, true);
    scene_advance(&scene, 2000);
    CHECK_EQUAL(completed(IOS), 0);
    fake_link_cut(client->host, scene.server_host, false);
    scene_pump(&scene);
    all_failed(IOS, 0);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    end();
}

/* ---- The client goes --------------------------------------------------- */

static void client_dies(enum fake_death death)
{
    begin(1);
    REQUIRE(scene_connect(other));
    scene.park = true;
    submit(IOS, RDISK_OP_WRITE);
    scene_pump(&scene);
    CHECK(scene.parked_count > 0);
    fake_host_kill(client->host, death);
    scene_advance(&scene, 30000);
    /* Its slots are the owner's until the owner has done. */
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 2);
    scene.park = false;
    scene_unpark(&scene, scene.parked_count);
    scene_advance(&scene, 1000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    CHECK_EQUAL(scene.closes, 1);
    CHECK_EQUAL(completed(IOS), IOS);
    CHECK_EQUAL(other->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(scene_do(other, RDISK_OP_READ, 0, NULL, 0), -EINVAL);
    CHECK_EQUAL(scene_do(other, RDISK_OP_FLUSH, 0, NULL, 0), 0);
    end();
}

static void client_process_dies(void)
{
    client_dies(FAKE_PROCESS_DIES);
}

static void client_loses_power(void)
{
    client_dies(FAKE_POWER_FAILS);
}

/* ---- The device goes --------------------------------------------------- */

static void client_device_removed(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        begin(seed);
        scene.park = true;
        submit(IOS, RDISK_OP_READ);
        scene_pump(&scene);
        fake_host_remove_device(client->host, seed % 2);
        scene_pump(&scene);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
        CHECK_EQUAL(completed(IOS), IOS);
        CHECK_EQUAL(client->outstanding, 0);
        end();
    }
}

static void server_device_removed(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        begin(seed);
        scene.park = true;
        submit(IOS, RDISK_OP_READ);
        scene_pump(&scene);
        fake_host_remove_device(scene.server_host, seed % 2);
        scene.park = false;
        scene_unpark(&scene, scene.parked_count);
        scene_advance(&scene, 20000);
        CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
        CHECK_EQUAL(completed(IOS), IOS);
        end();
    }
}

/* ---- Every call fails once --------------------------------------------- */

static const enum fake_call calls[] = {
    FAKE_CREATE_EVENT_CHANNEL, FAKE_CREATE_ID, FAKE_RESOLVE_ADDR,
    FAKE_RESOLVE_ROUTE, FAKE_SET_ACK_TIMEOUT, FAKE_CREATE_QP, FAKE_CONNECT,
    FAKE_ACCEPT, FAKE_REJECT, FAKE_DISCONNECT, FAKE_QUERY_DEVICE,
    FAKE_ALLOC_PD, FAKE_REG_MR, FAKE_CREATE_COMP_CHANNEL, FAKE_CREATE_CQ,
    FAKE_REQ_NOTIFY_CQ, FAKE_POLL_CQ, FAKE_POST_SEND, FAKE_POST_RECV,
    FAKE_CONNECT_RESPONSE,
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static struct fake_host *the_client(void)
{
    return client->host;
}

static struct fake_host *the_server(void)
{
    return scene.server_host;
}

/* One session with requests; the @nth such call of @host fails. Returns
 * whether so many were made at all. */
static bool life_with_failure(struct fake_host *(*host)(void),
                              enum fake_call call, unsigned int nth)
{
    unsigned int failures = CU_get_number_of_failures();
    uint64_t before;
    bool reached;

    begin_unconnected(nth);
    before = fake_calls(host(), call);
    fake_fail(host(), call, nth, ENOMEM);
    if (scene_connect(client)) {
        rdisk_initiator_register(client->session, buffer, sizeof(buffer) / 2,
                                 &err);
        submit(IOS, RDISK_OP_READ);
    }
    scene_advance(&scene, 120000);
    for (unsigned int i = 0; i < IOS; i++) {
        CHECK(ios[i].completed <= 1);
        CHECK(!ios[i].completed || ios[i].result <= 0);
    }
    CHECK_EQUAL(client->outstanding, 0);
    CHECK(client->state == RDISK_INITIATOR_READY ||
          client->state == RDISK_INITIATOR_FAILED);
    if (client->state == RDISK_INITIATOR_FAILED) {
        CHECK(rdisk_initiator_error(client->session)->code < 0);
        CHECK(rdisk_initiator_error(client->session)->text[0]);
    }
    reached = fake_calls(host(), call) - before >= nth;
    fake_fail(host(), call, 0, 0);
    if (client->session) {
        rdisk_initiator_unregister(client->session, buffer,
                                   sizeof(buffer) / 2);
    }
    scene_end(&scene);
    CHECK_EQUAL(late_writes, 0);
    if (CU_get_number_of_failures() != failures) {
        printf("    call %d of the %s, number %u\n", call,
               host == the_client ? "client" : "server", nth);
        return false;
    }
    return reached;
}

static void every_call_of_the_client_fails(void)
{
    for (size_t i = 0; i < CALLS; i++) {
        for (unsigned int nth = 1; nth < 60 &&
             life_with_failure(the_client, calls[i], nth); nth++) {
            /* the next one */
        }
    }
}

static void every_call_of_the_server_fails(void)
{
    for (size_t i = 0; i < CALLS; i++) {
        for (unsigned int nth = 1; nth < 60 &&
             life_with_failure(the_server, calls[i], nth); nth++) {
            /* the next one */
        }
    }
}

/* ---- Chance ------------------------------------------------------------ */

static uint64_t chance(uint64_t bound)
{
    return fake_fabric_random(scene.fabric, bound);
}

static void random_fault(void)
{
    struct ibv_qp *qp;

    switch (chance(8)) {
    case 0:
        fake_link_cut(client->host, scene.server_host, chance(2));
        break;
    case 1:
        qp = fake_host_qp(client->host, (unsigned int)chance(3));
        if (qp) {
            fake_qp_break(qp);
        }
        break;
    case 2:
        qp = fake_host_qp(scene.server_host, (unsigned int)chance(3));
        if (qp) {
            fake_qp_cut(qp, true);
        }
        break;
    case 3:
        fake_host_kill(client->host, FAKE_PROCESS_DIES);
        break;
    case 4:
        fake_fail(chance(2) ? client->host : scene.server_host,
                  calls[chance(CALLS)], 1 + (unsigned int)chance(3), ENOMEM);
        break;
    case 5:
        fake_link_delay(client->host, scene.server_host,
                        chance(8000) * RDISK_MSEC);
        break;
    case 6:
        fake_fabric_loss(scene.fabric, 2 + (unsigned int)chance(30));
        break;
    default:
        fake_host_remove_device(client->host, chance(2));
        break;
    }
}

static void random_request(unsigned int i)
{
    enum rdisk_op op = chance(2) ? RDISK_OP_READ : RDISK_OP_WRITE;

    if (client->state == RDISK_INITIATOR_READY && !ios[i].client) {
        scene_pattern(buffer + i * IO_SIZE, IO_SIZE, 100 + i);
        memcpy(scene.disk + i * IO_SIZE, buffer + i * IO_SIZE, IO_SIZE);
        if (op == RDISK_OP_READ) {
            memset(buffer + i * IO_SIZE, 0, IO_SIZE);
        } else {
            memset(scene.disk + i * IO_SIZE, 0, IO_SIZE);
        }
        if (scene_submit(&ios[i], client, (unsigned int)chance(2), op,
                         (uint64_t)i * IO_SIZE, buffer + i * IO_SIZE,
                         IO_SIZE) < 0) {
            ios[i].completed = 1;
            ios[i].result = -EIO;
        }
        if (chance(2)) {
            rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
            rdisk_queue_kick(rdisk_initiator_queue(client->session, 1));
        }
    }
}

static void random_life(uint64_t seed)
{
    unsigned int fault_at;

    begin_unconnected(seed);
    client->options.open_timeout_ms = 5000;
    client->options.request_timeout_ms = 5000;
    client->options.slots = 1 + (unsigned int)chance(8);
    fault_at = (unsigned int)chance(200);
    scene_start(client);
    for (unsigned int turn = 0; turn < 200; turn++) {
        if (turn == fault_at) {
            random_fault();
        }
        if (client->state == RDISK_INITIATOR_READY && chance(20) == 0) {
            rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                     &err);
        }
        scene.park = chance(3) == 0;
        random_request((unsigned int)chance(IOS));
        if (chance(3) == 0) {
            scene_pump(&scene);
            scene_unpark(&scene, (unsigned int)chance(5));
        } else {
            fake_fabric_step(scene.fabric);
        }
    }
    if (client->state == RDISK_INITIATOR_READY) {
        rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
        rdisk_queue_kick(rdisk_initiator_queue(client->session, 1));
    }
    scene.park = false;
    scene_pump(&scene);
    scene_unpark(&scene, scene.parked_count);
    scene_advance(&scene, 60000);
}

static void random_end(void)
{
    CHECK_EQUAL(client->outstanding, 0);
    for (unsigned int i = 0; i < IOS; i++) {
        if (!ios[i].client) {
            continue;
        }
        CHECK_EQUAL(ios[i].completed, 1);
        if (ios[i].result == 0) {
            CHECK(scene_is_pattern(buffer + i * IO_SIZE, IO_SIZE, 100 + i));
            CHECK(scene_is_pattern(scene.disk + i * IO_SIZE, IO_SIZE,
                                   100 + i));
        }
    }
    for (size_t i = 0; i < CALLS; i++) {
        fake_fail(client->host, calls[i], 0, 0);
        fake_fail(scene.server_host, calls[i], 0, 0);
    }
    fake_fabric_loss(scene.fabric, 0);
    fake_link_cut(client->host, scene.server_host, false);
    scene_advance(&scene, 10000);
    /* The device holds the table of registrations, not the session. */
    for (int i = 0; i < 200 && client->session; i++) {
        rdisk_initiator_unregister(client->session, buffer, sizeof(buffer));
    }
    scene_end(&scene);
    CHECK_EQUAL(late_writes, 0);
}

static void random_faults(void)
{
    unsigned int failures = CU_get_number_of_failures();

    for (uint64_t seed = 0; seed < 1000; seed++) {
        random_life(seed);
        random_end();
        if (CU_get_number_of_failures() != failures) {
            printf("    seed %llu\n", (unsigned long long)seed);
            return;
        }
    }
}

static const struct unit_test tests[] = {
    { "when the server's process dies every request ends once",
      server_process_dies },
    { "when the server loses power every request ends in time",
      server_loses_power },
    { "a request ends only after its queue pair was flushed",
      completion_waits_for_the_flush },
    { "when one queue breaks all end", one_queue_takes_all },
    { "when the control queue breaks all end", broken_control_takes_all },
    { "a stopping server finishes what it has taken", server_stops },
    { "a stopping server waits for its backend, the client does not for ever",
      server_stops_impatiently },
    { "an unanswered request runs into request-timeout", request_times_out },
    { "without request-timeout a request waits for ever",
      request_that_never_times_out },
    { "a short outage is survived", short_outage_is_survived },
    { "when a client's process dies its requests are drained",
      client_process_dies },
    { "when a client loses power its requests are drained",
      client_loses_power },
    { "when the client's device goes every request ends",
      client_device_removed },
    { "when the server's device goes its sessions end",
      server_device_removed },
    { "every call of the client may fail", every_call_of_the_client_fails },
    { "every call of the server may fail", every_call_of_the_server_fails },
    { "random faults harm no data and leave nothing behind",
      random_faults },
};

UNIT_SUITE("faults", tests)
