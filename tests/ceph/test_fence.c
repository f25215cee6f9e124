/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two servers and one image, on a real cluster (tests/ceph/run): who has its
 * lock, and what becomes of the other.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>

#include "server/backends/module.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"
#include <rdisk/env.h>

#define SECOND (1000 * RDISK_MSEC)

static struct backend_ceph servers[2] = {
    { .server = "one", .instance = "1" },
    { .server = "two", .instance = "1" },
};
static struct rig first, second;
static unsigned int timeout_s = 10; /* of each connection */
static struct rdisk_error err;

static const struct backend_class *class(void)
{
    return rdisk_backend_module.class;
}

/* A command of Ceph's, which must succeed. */
__attribute__((format(printf, 1, 2))) static void run(const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    REQUIRE(system(text) == 0);
}

static void open_at(struct rig *rig, struct backend_ceph *server)
{
    struct backend_spec spec = {
        .volume = "v",
        .path = "rbd/fence",
        .ceph = server,
        .shared_records = true,
    };

    server->config = getenv("CEPH_CONF");
    server->user = "admin";
    server->keyring = "";
    server->op_timeout_s = 10;
    server->connect_timeout_s = timeout_s;
    memset(rig, 0, sizeof(*rig));
    rig_open(rig, class(), &spec);
}

static void begin(void)
{
    run("rbd create --size 4M rbd/fence");
    open_at(&first, &servers[0]);
    open_at(&second, &servers[1]);
    err = (struct rdisk_error) { 0 };
}

static void end(void)
{
    rig_close(&first);
    rig_close(&second);
    run("rbd rm --no-progress rbd/fence");
}

static int lock(struct rig *rig, bool force)
{
    return class()->lock(rig->backend, force, &err);
}

static int write_at(struct rig *rig, uint64_t offset, int byte)
{
    memset(rig->memory, byte, 4096);
    return rig_io(rig, RDISK_OP_WRITE, 0, offset, 4096);
}

static int byte_at(struct rig *rig, uint64_t offset)
{
    memset(rig->memory, 0, 4096);
    CHECK_EQUAL(rig_io(rig, RDISK_OP_READ, 0, offset, 4096), 0);
    return rig->memory[17];
}

/* ---- Tests --------------------------------------------------------------- */

static void one_at_a_time_has_the_lock(void)
{
    begin();
    CHECK_EQUAL(lock(&first, false), 0);
    CHECK_EQUAL(lock(&second, false), -EBUSY);
    CHECK_SAYS(err.text, "another client of the Ceph cluster");
    CHECK_EQUAL(write_at(&first, 0, 'a'), 0);
    CHECK_EQUAL(byte_at(&second, 0), 'a');
    class()->unlock(first.backend);
    CHECK_EQUAL(lock(&second, false), 0);
    CHECK_EQUAL(write_at(&second, 0, 'b'), 0);
    CHECK_EQUAL(byte_at(&first, 0), 'b');
    CHECK(!backend_is_fenced(first.backend));
    end();
}

/* The cluster itself takes 30 seconds to take it from one that is stopped. */
static void fenced_server_writes_nothing_more(void)
{
    uint64_t began;

    begin();
    CHECK_EQUAL(lock(&first, false), 0);
    CHECK_EQUAL(write_at(&first, 0, 'a'), 0);
    began = rdisk_now(&rdisk_env_system);
    CHECK_EQUAL(lock(&second, true), 0);
    printf("  taken over in %u ms\n",
           (unsigned int)((rdisk_now(&rdisk_env_system) - began) / RDISK_MSEC));
    CHECK(rdisk_now(&rdisk_env_system) - began < 10 * SECOND);
    CHECK_EQUAL(write_at(&second, 0, 'b'), 0);
    CHECK_EQUAL(write_at(&first, 0, 'c'), -ESHUTDOWN);
    CHECK(backend_is_fenced(first.backend));
    CHECK_EQUAL(write_at(&first, 1 << 20, 'c'), -ESHUTDOWN);
    CHECK_EQUAL(byte_at(&second, 0), 'b');
    CHECK_EQUAL(byte_at(&second, 1 << 20), 0);
    end();
}

/* ---- Requests in flight -------------------------------------------------- */

#define BATCH 16u

/* Requests of all kinds, so many at a time, until one is refused. */
static void *use_until_refused(void *opaque)
{
    struct rig *rig = opaque;
    struct backend_io io[BATCH];
    int result = 0;

    for (unsigned int turn = 0; result == 0; turn++) {
        for (unsigned int i = 0; i < BATCH; i++) {
            unsigned int kind = (turn + i) % 8;

            io[i] = (struct backend_io) {
                .op = kind == 7   ? RDISK_OP_FLUSH
                      : kind == 6 ? RDISK_OP_ZEROES
                      : kind > 3  ? RDISK_OP_READ
                                  : RDISK_OP_WRITE,
                .offset = kind == 7 ? 0 : i << 16,
                .length = kind == 7 ? 0 : 4096u << (turn + i) % 5,
                .data = rig->memory + (i << 16),
                .buffer = RIG_BUFFER(rig),
            };
        }
        result = rig_submit(rig, io, BATCH);
    }
    return (void *)(intptr_t)result;
}

/* All that @rig has in flight is answered. */
static void check_ends(pthread_t user)
{
    struct timespec deadline;
    void *result;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 30;
    REQUIRE(pthread_timedjoin_np(user, &result, &deadline) == 0);
    CHECK((intptr_t)result == -ESHUTDOWN || (intptr_t)result == -EROFS);
}

/* RDISK_FENCE_ROUNDS: how often. */
static void each_request_of_a_fenced_server_is_answered(void)
{
    const char *text = getenv("RDISK_FENCE_ROUNDS");
    unsigned int rounds = text ? (unsigned int)atoi(text) : 4;
    struct rig *rigs[2] = { &first, &second };

    begin();
    CHECK_EQUAL(lock(&first, false), 0);
    for (unsigned int round = 0; round < rounds; round++) {
        unsigned int old = round % 2;
        pthread_t user;

        REQUIRE(pthread_create(&user, NULL, use_until_refused, rigs[old]) == 0);
        usleep(100000 + 1000 * (round * 37 % 200));
        CHECK_EQUAL(lock(rigs[!old], true), 0);
        check_ends(user);
        rig_close(rigs[old]);
        open_at(rigs[old], &servers[old]);
    }
    end();
}

/* librbd's own clients note nothing in the image. */
static void lock_of_another_program_is_not_broken(void)
{
    begin();
    CHECK_EQUAL(lock(&first, false), 0);
    run("rbd image-meta remove rbd/fence rdisk.holder");
    CHECK_EQUAL(lock(&second, true), -EBUSY);
    CHECK_EQUAL(write_at(&first, 0, 'a'), 0);
    end();
}

static void one_that_was_changed_is_opened_again(void)
{
    begin();
    CHECK_EQUAL(lock(&first, false), 0);
    CHECK_EQUAL(class()->resize(first.backend, 8 << 20, &err), 0);
    class()->unlock(first.backend);
    CHECK_EQUAL(lock(&second, false), -ESTALE);
    /* It has not kept the lock. */
    first.backend->geometry.size = 8 << 20;
    CHECK_EQUAL(lock(&first, false), 0);
    CHECK_EQUAL(class()->resize(first.backend, 4 << 20, &err), -EBUSY);
    CHECK_SAYS(err.text, "another server or client");
    end();
}

/* A program of the cluster is stopped, or goes on. */
static void send_signal(const char *signal, const char *program)
{
    run("kill -%s $(cat \"$RDISK_CEPH\"/%s.pid)", signal, program);
}

static unsigned int seconds_since(uint64_t began)
{
    return (unsigned int)((rdisk_now(&rdisk_env_system) - began) / SECOND);
}

/* librados waits for the map without limit: once to lock, and, before that, for
 * the one that has the last holder on the blocklist. */
static void lock_ends_without_monitors(void)
{
    uint64_t began;

    timeout_s = 4;
    begin();
    send_signal("STOP", "mon.a");
    began = rdisk_now(&rdisk_env_system);
    CHECK_EQUAL(lock(&first, false), -ETIMEDOUT);
    CHECK_SAYS(err.text, "the monitors of the Ceph cluster have not answered");
    CHECK_EQUAL(lock(&first, false), -ETIMEDOUT);
    CHECK(seconds_since(began) < 20);
    send_signal("CONT", "mon.a");
    /* It has not kept the lock. */
    CHECK_EQUAL(lock(&second, false), 0);
    send_signal("STOP", "mon.a");
    began = rdisk_now(&rdisk_env_system);
    CHECK_EQUAL(lock(&first, true), -ETIMEDOUT);
    CHECK(seconds_since(began) < 10);
    CHECK_EQUAL(write_at(&second, 0, 'b'), 0);
    send_signal("CONT", "mon.a");
    CHECK_EQUAL(lock(&first, true), 0);
    CHECK_EQUAL(write_at(&first, 0, 'a'), 0);
    end();
    timeout_s = 10;
}

/* Nor does the connection's end wait for them. */
static void image_closes_without_monitors(void)
{
    uint64_t began;

    timeout_s = 4;
    begin();
    send_signal("STOP", "mon.a");
    CHECK_EQUAL(lock(&first, false), -ETIMEDOUT);
    began = rdisk_now(&rdisk_env_system);
    rig_close(&first);
    CHECK(seconds_since(began) < 10);
    send_signal("CONT", "mon.a");
    timeout_s = 10;
    open_at(&first, &servers[0]);
    CHECK_EQUAL(lock(&first, false), 0);
    end();
}

static const struct unit_test tests[] = {
    { "one server at a time has the lock, and others read",
      one_at_a_time_has_the_lock },
    { "a server that was fenced writes nothing more",
      fenced_server_writes_nothing_more },
    { "the lock of another program is not broken",
      lock_of_another_program_is_not_broken },
    { "an image that another server has changed is to be opened again",
      one_that_was_changed_is_opened_again },
    { "each request of a server that is fenced is answered",
      each_request_of_a_fenced_server_is_answered },
    { "an image is locked within a time limit, or not, without monitors",
      lock_ends_without_monitors },
    { "an image whose lock waits for monitors is closed without them",
      image_closes_without_monitors },
};

/* Before the images' tests, which leave the cluster full. */
UNIT_SUITE("ceph-0-fence", tests)
