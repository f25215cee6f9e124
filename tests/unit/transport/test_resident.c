/* SPDX-License-Identifier: BSD-3-Clause */
/* A resident volume: read by the client's device, or from where it lies. */
#include <errno.h>

#include "transport/initiator/session.h"
#include "tests/unit/support/lone.h"
#include "tests/unit/support/unit.h"

#define PAGE   4096u
#define MANY   200u
#define PIECES 32u

static struct scene_io io, ios[MANY];

static void prepare(void)
{
    scene_prepare(&scene, 1);
    scene.read_only = true;
    scene.resident = SCENE_REGISTERED;
    lone->options.reconnect_delay_ms = 60000;
}

static void begin_prepared(void)
{
    struct rdisk_error err;

    memset(memory, 0, sizeof(memory));
    scene_serve(&scene);
    scene_pattern(scene.disk, SCENE_SIZE, 7);
    REQUIRE(scene_connect(lone));
    REQUIRE(rdisk_initiator_register(lone->session, memory, sizeof(memory),
                                     &err) == 0);
}

static void begin(void)
{
    prepare();
    begin_prepared();
}

/* Of the server's queue. */
static struct rdisk_target_counters served(void)
{
    struct rdisk_target_counters counters = { 0 };

    for (unsigned int i = 0; i < SCENE_QUEUES; i++) {
        if (scene.queues[i].queue) {
            rdisk_target_queue_counters(scene.queues[i].queue, &counters);
        }
    }
    return counters;
}

static bool is_read(const void *buffer, uint64_t offset, uint32_t length)
{
    return !memcmp(buffer, scene.disk + offset, length);
}

static void read_right(uint64_t offset, uint32_t length)
{
    memset(memory, 0xee, length);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, offset, memory, length), 0);
    CHECK(is_read(memory, offset, length));
}

/* Every READ so far was the client's own, or a request. */
static void check_ways(uint64_t one_sided, unsigned int requests)
{
    CHECK_EQUAL(lone_counters().one_sided, one_sided);
    CHECK_EQUAL(scene.requests, requests);
}

/* ---- Without the server's program --------------------------------------- */

static void costs_the_server_nothing(void)
{
    begin();
    read_right(0, PAGE);
    read_right(SCENE_SIZE - 512, 512);
    read_right(3 * 512, 65536);
    check_ways(3, 0);
    CHECK_EQUAL(served().receives, 0);
    CHECK_EQUAL(served().work_requests, 0);
    CHECK_EQUAL(served().wakeups, 0);
    CHECK_EQUAL(lone_counters().receives, 0);
    CHECK_EQUAL(lone_counters().work_requests, 3);
    CHECK_EQUAL(lone_counters().copied_bytes, 0);
    lone_end_registered();
}

static void in_every_mode(void)
{
    static const enum rdisk_guest_memory modes[] = {
        RDISK_GUEST_MEMORY_DIRECT,
        RDISK_GUEST_MEMORY_WINDOW,
        RDISK_GUEST_MEMORY_BOUNCE,
    };

    for (unsigned int i = 0; i < 3; i++) {
        prepare();
        lone->options.guest_memory = modes[i];
        begin_prepared();
        read_right(PAGE, 8 * PAGE);
        check_ways(1, 0);
        CHECK_EQUAL(lone_counters().windows, 0);
        CHECK_EQUAL(lone_counters().copied_bytes,
                    modes[i] == RDISK_GUEST_MEMORY_BOUNCE ? 8 * PAGE : 0);
        lone_end_registered();
    }
}

static void into_other_memory(void)
{
    static uint8_t unregistered[3 * PAGE];

    begin();
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 5 * PAGE, unregistered,
                         sizeof(unregistered)),
                0);
    CHECK(is_read(unregistered, 5 * PAGE, sizeof(unregistered)));
    check_ways(1, 0);
    CHECK_EQUAL(lone_counters().bounced, 1);
    lone_end_registered();
}

/* More than the device scatters into, and of odd lengths. */
static void into_pieces(void)
{
    uint64_t at = 0;

    prepare();
    fake_host_limits(lone->host)->max_sge = 5;
    begin_prepared();
    for (unsigned int i = 0; i < 16; i++) {
        io.iov[i] = (struct iovec) { memory + 3 * i * PAGE,
                                     i % 2 ? PAGE + 1 : PAGE - 1 };
    }
    CHECK_EQUAL(scene_submit_iov(&io, lone, 0, RDISK_OP_READ, PAGE, 16), 0);
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, 0);
    for (unsigned int i = 0; i < 16; i++) {
        CHECK(is_read(io.iov[i].iov_base, PAGE + at,
                      (uint32_t)io.iov[i].iov_len));
        at += io.iov[i].iov_len;
    }
    check_ways(1, 0);
    CHECK_EQUAL(lone_counters().work_requests, 4);
    CHECK_EQUAL(lone_counters().copied_bytes, 0);
    lone_end_registered();
}

/* Each piece takes a work request, of which there are few. */
static void into_more_pieces(void)
{
    prepare();
    lone->options.slots = 4;
    fake_host_limits(lone->host)->max_sge_rd = 1;
    begin_prepared();
    for (unsigned int i = 0; i < PIECES; i++) {
        io.iov[i] = (struct iovec) { memory + i * PAGE, PAGE / 2 };
    }
    CHECK_EQUAL(scene_submit_iov(&io, lone, 0, RDISK_OP_READ, 0, PIECES), 0);
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, 0);
    for (unsigned int i = 0; i < PIECES; i++) {
        CHECK(is_read(io.iov[i].iov_base, i * PAGE / 2, PAGE / 2));
    }
    check_ways(1, 0);
    CHECK_EQUAL(lone_counters().copied_bytes, 0);
    lone_end_registered();
}

static void submit_many(void)
{
    for (unsigned int i = 0; i < MANY; i++) {
        CHECK_EQUAL(scene_submit(&ios[i], lone, 0, RDISK_OP_READ, i * PAGE,
                                 memory + i * PAGE, PAGE),
                    0);
    }
    rdisk_queue_kick(lone_queue());
}

static void check_many(void)
{
    for (unsigned int i = 0; i < MANY; i++) {
        CHECK_EQUAL(ios[i].completed, 1);
        CHECK_EQUAL(ios[i].result, 0);
    }
    CHECK(is_read(memory, 0, MANY * PAGE));
}

static void many_need_no_slots(void)
{
    prepare();
    scene.options.withheld_features = 0;
    begin_prepared();
    submit_many();
    scene_pump(&scene);
    check_many();
    check_ways(MANY, 0);
    CHECK_EQUAL(lone_counters().slot_waits, 0);
    CHECK_EQUAL(served().receives, 0);
    lone_end_registered();
}

static void others_are_requests(void)
{
    struct rdisk_extent extents[4];

    prepare();
    scene.maps = true;
    begin_prepared();
    read_right(0, PAGE);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_FLUSH, 0, NULL, 0), 0);
    io.request = (struct rdisk_request) {
        .op = RDISK_OP_EXTENTS,
        .length = SCENE_SIZE,
        .extents = extents,
        .extent_count = 4,
    };
    CHECK_EQUAL(scene_do_request(lone, &io), 0);
    read_right(PAGE, PAGE);
    check_ways(2, 2);
    lone_end_registered();
}

/* ---- By requests ------------------------------------------------------- */

/* The slots hold nothing of what was read. */
static bool is_in_slots(uint64_t offset, uint32_t length)
{
    const uint8_t *slot = scene.queues[0].memory;

    for (size_t i = 0; i + length <= scene.queues[0].length; i += PAGE) {
        if (is_read(slot + i, offset, length)) {
            return true;
        }
    }
    return false;
}

static void reads_by_requests(bool copied)
{
    begin_prepared();
    read_right(3 * PAGE, 65536);
    CHECK_EQUAL(is_in_slots(3 * PAGE, 65536), copied);
    check_ways(0, 1);
    lone_end_registered();
}

static void older_client(void)
{
    prepare();
    lone->options.withheld_features = RDISK_FEATURE_RESIDENT;
    reads_by_requests(false);
}

static void older_server(void)
{
    prepare();
    scene.options.withheld_features |= RDISK_FEATURE_RESIDENT;
    reads_by_requests(false);
}

static void server_device_without(void)
{
    prepare();
    fake_host_limits(scene.server_host)->max_rd_atom = 0;
    reads_by_requests(false);
}

static void client_device_without(void)
{
    prepare();
    fake_host_limits(lone->host)->max_rd_atom = 0;
    reads_by_requests(false);
}

static void limited(void)
{
    prepare();
    scene.limited = true;
    reads_by_requests(false);
}

static void not_registered(void)
{
    prepare();
    scene.resident = SCENE_COPIED;
    reads_by_requests(true);
}

static void writable(void)
{
    prepare();
    scene.read_only = false;
    reads_by_requests(false);
}

static void smaller_devices(void)
{
    prepare();
    fake_host_limits(lone->host)->max_rd_atom = 1;
    begin_prepared();
    submit_many();
    scene_pump(&scene);
    check_many();
    check_ways(MANY, 0);
    lone_end_registered();
    prepare();
    fake_host_limits(scene.server_host)->max_rd_atom = 2;
    begin_prepared();
    submit_many();
    scene_pump(&scene);
    check_many();
    check_ways(MANY, 0);
    lone_end_registered();
}

/* ---- Failures ---------------------------------------------------------- */

/* The device refuses: this session goes on by requests. */
static void refused(void)
{
    submit_many();
    scene_advance(&scene, 30000);
    check_many();
    check_ways(0, MANY);
    read_right(0, PAGE);
    check_ways(0, MANY + 1);
}

static void wrong_key(void)
{
    begin();
    lone_queue()->resident.key ^= 1;
    refused();
    lone_end_registered();
}

static void beyond_the_end(void)
{
    begin();
    lone_queue()->resident.address += SCENE_SIZE;
    refused();
    lone_end_registered();
}

static void below_the_start(void)
{
    begin();
    lone_queue()->resident.address -= SCENE_SIZE;
    refused();
    lone_end_registered();
}

/* A server that cannot be read from, without a word. */
static void lost_again_and_again(void)
{
    begin();
    for (unsigned int i = 0; i < 2; i++) {
        submit_many();
        fake_qp_break(lone_queue()->qp.qp);
        scene_advance(&scene, 30000);
        check_many();
        if (i == 0) {
            check_ways(MANY, 0);
        }
    }
    check_ways(2 * MANY, 0);
    lone_end_registered();
}

/* As with a server that has not accepted any, but says so. */
static void hang(void)
{
    prepare();
    lone->options.request_timeout_ms = 5000;
    begin_prepared();
    fake_host_limits(lone->host)->reads_hang = true;
    submit_many();
    scene_advance(&scene, 4000);
    CHECK(!ios[0].completed);
}

static void never_answered(void)
{
    hang();
    CHECK_EQUAL(lone->session->epoch, 1);
    scene_advance(&scene, 4000);
    CHECK_EQUAL(lone->session->epoch, 2);
    fake_host_limits(lone->host)->reads_hang = false;
    scene_advance(&scene, 30000);
    check_many();
    check_ways(MANY, 0);
    lone_end_registered();
}

static void never_answered_on_any(void)
{
    hang();
    scene_advance(&scene, 60000);
    check_many();
    check_ways(0, MANY);
    lone_end_registered();
}

static void sent_again(void)
{
    begin();
    read_right(0, PAGE);
    submit_many();
    scene_restart_server(&scene);
    scene_advance(&scene, 30000);
    check_many();
    CHECK_EQUAL(scene.requests, 0);
    lone_end_registered();
}

static void sent_again_by_requests(void)
{
    begin();
    submit_many();
    scene.options.withheld_features |= RDISK_FEATURE_RESIDENT;
    scene_restart_server(&scene);
    scene_advance(&scene, 30000);
    check_many();
    CHECK(scene.requests > 0);
    lone_end_registered();
}

static void drained(void)
{
    begin();
    submit_many();
    scene_drain(&scene);
    scene_pump(&scene);
    scene.drained = false;
    scene_advance(&scene, 30000);
    check_many();
    CHECK_EQUAL(scene.requests, 0);
    lone_end_registered();
}

/* scene.c checks that the memory is not open any more when close comes. */
static void ends_with_the_session(void)
{
    begin();
    read_right(0, PAGE);
    CHECK(fake_host_readable(scene.server_host, scene.disk, SCENE_SIZE));
    rdisk_initiator_unregister(lone->session, memory, sizeof(memory));
    scene_disconnect(lone);
    scene_pump(&scene);
    CHECK_EQUAL(scene.closes, 1);
    CHECK(!fake_host_readable(scene.server_host, scene.disk, SCENE_SIZE));
    scene_end(&scene);
}

static void fenced_reads_nothing(void)
{
    begin();
    submit_many();
    rdisk_target_session_fence(scene.holders[0].session);
    memset(memory, 0, sizeof(memory));
    /* What was read before is of the volume as it was. */
    scene_advance(&scene, 30000);
    check_many();
    lone_end_registered();
}

/* An owner that registers the memory in another thread. */
static void held_until_let_go(void)
{
    struct rdisk_target_session *session;

    prepare();
    scene.resident = SCENE_NOT_RESIDENT;
    scene.later = true;
    scene_serve(&scene);
    scene_start(lone);
    scene_pump(&scene);
    session = scene.holders[0].session;
    REQUIRE(session != NULL);
    rdisk_target_session_hold(session);
    scene_drop(lone);
    scene_advance(&scene, 20000);
    CHECK(scene.holders[0].session == session);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    rdisk_target_session_let_go(session);
    scene_pump(&scene);
    CHECK(scene.holders[0].session == NULL);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "a read of a resident volume costs the server nothing",
      costs_the_server_nothing },
    { "a resident volume is read so whatever guest-memory is", in_every_mode },
    { "memory that is not registered is read into by a copy",
      into_other_memory },
    { "a read goes into more pieces than a work request has", into_pieces },
    { "a read goes into as many pieces as it has, with few work requests",
      into_more_pieces },
    { "more reads than the queue has room for wait, and need no slots",
      many_need_no_slots },
    { "flushes and extents of a resident volume are requests",
      others_are_requests },
    { "an older client is answered from the volume's memory", older_client },
    { "an older server is read by requests", older_server },
    { "a server's device without RDMA READ is read by requests",
      server_device_without },
    { "a client's device without RDMA READ sends requests",
      client_device_without },
    { "a session with limits sends requests", limited },
    { "without registration what is read is copied", not_registered },
    { "a volume that can be written is never read by the client alone",
      writable },
    { "as many reads are in flight as both devices can have", smaller_devices },
    { "after a read with a wrong key the session goes on by requests",
      wrong_key },
    { "no read beyond the volume's end succeeds", beyond_the_end },
    { "no read below the volume's start succeeds", below_the_start },
    { "reads of a lost connection are sent again", lost_again_and_again },
    { "a read that never ends breaks its connection after request-timeout",
      never_answered },
    { "reads that end on no connection are requests in the end",
      never_answered_on_any },
    { "reads in flight when the server dies are sent again", sent_again },
    { "reads are sent again as requests to an older server",
      sent_again_by_requests },
    { "reads in flight are completed when the volume is drained", drained },
    { "the volume's memory is closed when its session ends",
      ends_with_the_session },
    { "a fenced session's reads end after it has reconnected",
      fenced_reads_nothing },
    { "a session that is held stays until it is let go", held_until_let_go },
};

UNIT_SUITE("resident", tests)
