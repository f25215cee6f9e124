/* SPDX-License-Identifier: BSD-3-Clause */
/* guest-memory: what the server may write to, of what is registered. */
#include <stdlib.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct scene_client *other = &scene.clients[1];
static struct rdisk_error err;
static uint8_t buffer[1 << 20] __attribute__((aligned(4096)));

static void begin_with(uint64_t seed, enum rdisk_guest_memory guest_memory,
                       bool write_acks)
{
    memset(buffer, 0, sizeof(buffer));
    scene_begin(&scene, seed);
    client->options.guest_memory = guest_memory;
    client->options.write_acks = write_acks;
    REQUIRE(scene_connect(client));
    REQUIRE(rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                     &err) == 0);
}

static void begin(uint64_t seed, enum rdisk_guest_memory guest_memory)
{
    begin_with(seed, guest_memory, false);
}

static void end(void)
{
    rdisk_initiator_unregister(client->session, buffer, sizeof(buffer));
    scene_end(&scene);
}

static struct rdisk_queue_counters counters(void)
{
    struct rdisk_queue_counters counters = { 0 };

    rdisk_queue_counters(rdisk_initiator_queue(client->session, 0), &counters);
    return counters;
}

static bool exposed(void)
{
    return fake_host_exposes(client->host, buffer, sizeof(buffer));
}

static void write_and_read(void)
{
    scene_pattern(buffer, 65536, 1);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, 4096, buffer, 65536), 0);
    CHECK(scene_is_pattern(scene.disk + 4096, 65536, 1));
    memset(buffer, 0, 70000);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 4096, buffer, 65536), 0);
    CHECK(scene_is_pattern(buffer, 65536, 1));
    CHECK_EQUAL(buffer[65536], 0);
}

/* ---- direct ------------------------------------------------------------ */

static void direct_is_open(void)
{
    begin(1, RDISK_GUEST_MEMORY_DIRECT);
    write_and_read();
    CHECK(exposed());
    CHECK_EQUAL(counters().copied_bytes, 0);
    end();
}

/* ---- bounce ------------------------------------------------------------ */

static void remote_write(const struct fake_write *write)
{
    const uint8_t *address = write->address;

    CHECK(address + write->length <= buffer ||
          address >= buffer + sizeof(buffer));
}

static void bounce_is_closed(void)
{
    begin(2, RDISK_GUEST_MEMORY_BOUNCE);
    scene.watch = remote_write;
    CHECK(!exposed());
    write_and_read();
    CHECK(!exposed());
    end();
}

static void bounce_copies_reads_only(void)
{
    begin(3, RDISK_GUEST_MEMORY_BOUNCE);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, 0, buffer, 65536), 0);
    CHECK_EQUAL(counters().copied_bytes, 0);
    CHECK_EQUAL(counters().bounced, 0);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 8192), 0);
    CHECK_EQUAL(counters().copied_bytes, 8192);
    CHECK_EQUAL(counters().bounced, 1);
    end();
}

/* The other disk's key for all of the memory is of no use here. */
static void domains_are_apart(void)
{
    begin(4, RDISK_GUEST_MEMORY_BOUNCE);
    other->host = client->host;
    fake_host_env(other->host, &other->env);
    REQUIRE(scene_connect(other));
    REQUIRE(rdisk_initiator_register(other->session, buffer, sizeof(buffer),
                                     &err) == 0);
    CHECK(exposed());
    CHECK(fake_host_qp(client->host, 1)->pd !=
          fake_host_qp(client->host, 3)->pd);
    rdisk_initiator_unregister(other->session, buffer, sizeof(buffer));
    CHECK(!exposed());
    write_and_read();
    end();
}

/* ---- window ------------------------------------------------------------ */

static struct scene_io ios[200];

static void window_is_closed(void)
{
    begin(5, RDISK_GUEST_MEMORY_WINDOW);
    CHECK(!exposed());
    write_and_read();
    CHECK(!exposed());
    CHECK_EQUAL(counters().copied_bytes, 0);
    CHECK_EQUAL(counters().windows, 1);
    end();
}

/* A read: bind, header, invalidation; two doorbells. A write: as ever. */
static void window_costs(void)
{
    struct rdisk_queue_counters before, after;

    begin(6, RDISK_GUEST_MEMORY_WINDOW);
    before = counters();
    for (unsigned int i = 0; i < 10; i++) {
        CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 4096), 0);
    }
    after = counters();
    CHECK_EQUAL(after.windows - before.windows, 10);
    CHECK_EQUAL(after.work_requests - before.work_requests, 30);
    CHECK_EQUAL(after.doorbells - before.doorbells, 20);
    before = after;
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, 0, buffer, 4096), 0);
    after = counters();
    CHECK_EQUAL(after.windows - before.windows, 0);
    CHECK_EQUAL(after.work_requests - before.work_requests, 1);
    end();
}

static void read_scattered(unsigned int pieces, uint32_t size,
                           unsigned int windows, uint64_t copied)
{
    struct rdisk_queue_counters before = counters(), after;
    struct scene_io *io = &ios[0];

    for (unsigned int i = 0; i < pieces; i++) {
        io->iov[i] = (struct iovec) { buffer + 8192 * i, size };
    }
    scene_pattern(scene.disk, size * pieces, pieces);
    CHECK_EQUAL(scene_submit_iov(io, client, 0, RDISK_OP_READ, 0, pieces), 0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_pump(&scene);
    CHECK_EQUAL(io->result, 0);
    for (unsigned int i = 0; i < pieces; i++) {
        CHECK(!memcmp(buffer + 8192 * i, scene.disk + size * i, size));
    }
    after = counters();
    CHECK_EQUAL(after.windows - before.windows, windows);
    CHECK_EQUAL(after.copied_bytes - before.copied_bytes, copied);
    CHECK(!exposed());
}

static void window_for_each_piece(void)
{
    begin(7, RDISK_GUEST_MEMORY_WINDOW);
    read_scattered(3, 4096, 3, 0);
    read_scattered(8, 2048, 8, 0);
    read_scattered(9, 4096, 0, 9 * 4096);
    read_scattered(3, 1024, 0, 3 * 1024);
    end();
}

/* 200 reads of four pieces, with few windows: those that find none bounce. */
static void window_for_as_many_as_there_are(void)
{
    scene_begin(&scene, 8);
    client->options.guest_memory = RDISK_GUEST_MEMORY_WINDOW;
    client->options.slots = 40;
    client->options.bounce_size = 1 << 20;
    REQUIRE(scene_connect(client));
    REQUIRE(rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                     &err) == 0);
    scene_pattern(scene.disk, 65536, 3);
    for (unsigned int i = 0; i < 200; i++) {
        for (unsigned int j = 0; j < 8; j++) {
            ios[i].iov[j] = (struct iovec) {
                buffer + 4096 * i + 512 * (7 - j),
                512,
            };
        }
        CHECK_EQUAL(scene_submit_iov(&ios[i], client, 0, RDISK_OP_READ, 4096,
                                     8),
                    0);
    }
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_pump(&scene);
    for (unsigned int i = 0; i < 200; i++) {
        CHECK_EQUAL(ios[i].completed, 1);
        CHECK_EQUAL(ios[i].result, 0);
        CHECK(!memcmp(buffer + 4096 * i + 3584, scene.disk + 4096, 512));
    }
    CHECK(counters().bounced > 0 && counters().windows > 0);
    CHECK(!exposed());
    end();
}

/* Work requests that are few for all those binds only make reads wait. */
static void window_with_few_work_requests(void)
{
    scene_begin(&scene, 9);
    fake_host_limits(client->host)->max_qp_wr = 100;
    client->options.guest_memory = RDISK_GUEST_MEMORY_WINDOW;
    REQUIRE(scene_connect(client));
    REQUIRE(rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                     &err) == 0);
    for (unsigned int i = 0; i < 200; i++) {
        CHECK_EQUAL(scene_submit(&ios[i], client, 0, RDISK_OP_READ, 0,
                                 buffer + 4096 * i, 4096),
                    0);
    }
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_pump(&scene);
    for (unsigned int i = 0; i < 200; i++) {
        CHECK_EQUAL(ios[i].completed, 1);
        CHECK_EQUAL(ios[i].result, 0);
    }
    end();
}

static void window_needs_windows(void)
{
    scene_begin(&scene, 10);
    fake_host_limits(client->host)->max_mw = 0;
    client->options.guest_memory = RDISK_GUEST_MEMORY_WINDOW;
    CHECK(!scene_connect(client));
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "RDMA device 'fake1' has no type-2 memory windows");
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "guest-memory=bounce");
    scene_end(&scene);
}

static void window_needs_enough_windows(void)
{
    scene_begin(&scene, 11);
    fake_host_limits(client->host)->max_mw = 10;
    client->options.guest_memory = RDISK_GUEST_MEMORY_WINDOW;
    CHECK(!scene_connect(client));
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "memory windows for a queue of");
    scene_end(&scene);
}

/* ---- The source of a write --------------------------------------------- */

/* Its acknowledgements are lost: the device may send it again. */
static void write_unacknowledged(enum rdisk_guest_memory guest_memory,
                                 bool write_acks)
{
    static struct scene_io io;
    struct ibv_qp *qp;

    begin_with(20, guest_memory, write_acks);
    qp = fake_host_qp(client->host, 1);
    REQUIRE(qp != NULL);
    fake_qp_lose_acks(qp, true);
    REQUIRE(scene_submit(&io, client, 0, RDISK_OP_WRITE, 0, buffer, 65536) ==
            0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_pump(&scene);
    /* It is answered, and carried out. */
    CHECK_EQUAL(scene.requests, 1);
    CHECK_EQUAL(io.completed,
                guest_memory == RDISK_GUEST_MEMORY_DIRECT && !write_acks);
    fake_qp_lose_acks(qp, false);
    scene_pump(&scene);
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, 0);
    CHECK(!fake_host_sends(client->host, buffer, sizeof(buffer)));
    end();
}

static void window_write_is_acknowledged(void)
{
    write_unacknowledged(RDISK_GUEST_MEMORY_WINDOW, false);
}

static void bounce_write_is_acknowledged(void)
{
    write_unacknowledged(RDISK_GUEST_MEMORY_BOUNCE, false);
}

static void direct_write_is_answered(void)
{
    write_unacknowledged(RDISK_GUEST_MEMORY_DIRECT, false);
}

static void direct_write_is_acknowledged(void)
{
    write_unacknowledged(RDISK_GUEST_MEMORY_DIRECT, true);
}

static unsigned int resent, resent_later;

static void count_resend(void *opaque, const struct fake_resend *resend)
{
    const uint8_t *address = resend->address;

    if (resend->host == client->host && address >= buffer &&
        address < buffer + sizeof(buffer)) {
        resent++;
        resent_later += resend->changed;
    }
}

/* The acknowledgements never come; the memory is used again when it may be. */
static void write_sent_again(bool write_acks)
{
    static struct scene_io io;

    begin_with(22, RDISK_GUEST_MEMORY_DIRECT, write_acks);
    resent = resent_later = 0;
    fake_fabric_observe_resends(scene.fabric, count_resend, NULL);
    fake_qp_lose_acks(fake_host_qp(client->host, 1), true);
    REQUIRE(scene_submit(&io, client, 0, RDISK_OP_WRITE, 0, buffer, 65536) ==
            0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    for (unsigned int i = 0; i < 100; i++) {
        scene_advance(&scene, 100);
        if (io.completed && buffer[0] != 0xee) {
            memset(buffer, 0xee, sizeof(buffer));
        }
    }
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, 0);
    CHECK(resent > 0);
    CHECK_EQUAL(resent_later > 0, !write_acks);
    end();
}

static void direct_write_may_send_what_comes_later(void)
{
    write_sent_again(false);
}

static void acknowledged_write_sends_nothing_later(void)
{
    write_sent_again(true);
}

/* Its connection ends first: then no device sends it any more. */
static void unacknowledged_write_ends_with_its_connection(void)
{
    static struct scene_io io;
    struct ibv_qp *qp;

    begin(21, RDISK_GUEST_MEMORY_WINDOW);
    qp = fake_host_qp(client->host, 1);
    fake_qp_lose_acks(qp, true);
    REQUIRE(scene_submit(&io, client, 0, RDISK_OP_WRITE, 0, buffer, 4096) == 0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_pump(&scene);
    CHECK_EQUAL(io.completed, 0);
    fake_qp_break(qp);
    scene_pump(&scene);
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, 0);
    end();
}

static const struct unit_test tests[] = {
    { "direct: a read is written into the guest's memory", direct_is_open },
    { "bounce: no key opens the guest's memory", bounce_is_closed },
    { "bounce: what is read is copied, what is written is not",
      bounce_copies_reads_only },
    { "window: between its reads no key opens the guest's memory",
      window_is_closed },
    { "window: a read costs two work requests and a doorbell more",
      window_costs },
    { "window: each piece of a read has one, and many pieces bounce",
      window_for_each_piece },
    { "window: reads that find none left bounce",
      window_for_as_many_as_there_are },
    { "window: a short send queue makes reads wait",
      window_with_few_work_requests },
    { "window: a device without windows is named", window_needs_windows },
    { "window: a device with too few windows is named",
      window_needs_enough_windows },
    { "sessions with another guest-memory share no protection domain",
      domains_are_apart },
    { "window: a write ends when the device cannot send it again",
      window_write_is_acknowledged },
    { "bounce: a write ends when the device cannot send it again",
      bounce_write_is_acknowledged },
    { "direct: a write ends with its answer", direct_write_is_answered },
    { "direct, write-acks: a write ends when the device cannot send it again",
      direct_write_is_acknowledged },
    { "direct: what is stored behind a completed write may be sent",
      direct_write_may_send_what_comes_later },
    { "direct, write-acks: nothing stored behind a completed write is sent",
      acknowledged_write_sends_nothing_later },
    { "a write that was answered ends well with its connection",
      unacknowledged_write_ends_with_its_connection },
};

UNIT_SUITE("guest-memory", tests)
