/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two servers and one image, on a real cluster (tests/ceph/run): who has its
 * lock, and what becomes of the other.
 */
#include <errno.h>
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
    server->op_timeout_s = server->connect_timeout_s = 10;
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

static const struct unit_test tests[] = {
    { "one server at a time has the lock, and others read",
      one_at_a_time_has_the_lock },
    { "a server that was fenced writes nothing more",
      fenced_server_writes_nothing_more },
    { "the lock of another program is not broken",
      lock_of_another_program_is_not_broken },
    { "an image that another server has changed is to be opened again",
      one_that_was_changed_is_opened_again },
};

/* Before the images' tests, which leave the cluster full. */
UNIT_SUITE("ceph-0-fence", tests)
