/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads and writes that are polled for, and when they are. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

static struct rig rig;

static struct reactor_info info(void)
{
    struct reactor_info now;

    reactor_info(rig.reactor, &now);
    return now;
}

/* ---- The ring --------------------------------------------------------- */

/* A new kernel refuses some of it where the disk has no queues for that. */
static void test_keeps(void)
{
    rig_open_polled(&rig, "/var/tmp");
    REQUIRE(rig.context->polled);
    CHECK(rig.buffer[RING_POLLED] >= 0);
    rig_check_keeps(&rig);
    rig_check_many(&rig);
    rig_close(&rig);
}

static void test_what_is_polled(void)
{
    rig_open_polled(&rig, "/var/tmp");
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, RDISK_REQUEST_FUA, 0, 4096), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_ZEROES, 0, 0, 4096), 0);
    /* The counter moves at the end of a turn. */
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_FLUSH, 0, 0, 0), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_FLUSH, 0, 0, 0), 0);
    CHECK_EQUAL(info().polled, 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 8192, 4096), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 8192, 4096), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_FLUSH, 0, 0, 0), 0);
    CHECK(info().polled > 0);
    rig_close(&rig);
}

static void test_unregistered(void)
{
    int buffer;

    rig_open_polled(&rig, "/var/tmp");
    buffer = rig.buffer[RING_POLLED];
    rig.buffer[RING_POLLED] = -1;
    rig_check_keeps(&rig);
    rig_check_many(&rig);
    rig.buffer[RING_POLLED] = buffer;
    rig_close(&rig);
}

static void test_sleeps(void)
{
    rig_open_polled(&rig, "/var/tmp");
    rig_check_many(&rig);
    rig_check_idle(rig.reactor);
    rig_close(&rig);
}

/* No disk at all is behind a tmpfs. */
static void test_falls_back(void)
{
    rig_open_polled(&rig, "/dev/shm");
    CHECK(rig.context->polled);
    rig_check_keeps(&rig);
    CHECK(!rig.context->polled);
    rig_check_many(&rig);
    rig_close(&rig);
}

static void test_not_asked_for(void)
{
    rig_open_file(&rig, "/dev/shm", false);
    CHECK(!rig.backend->polled && !rig.context->polled);
    rig_check_many(&rig);
    CHECK_EQUAL(info().polled, 0);
    rig_close(&rig);
}

/* ---- The choice ------------------------------------------------------- */

static struct backend *open_with(const struct backend_class *class,
                                 const char *folder,
                                 enum backend_polling polling,
                                 struct rdisk_error *err)
{
    char path[64] = "";
    struct backend_spec spec = {
        .volume = "v",
        .directory = AT_FDCWD,
        .polling = polling,
        .path = folder ? path : NULL,
        .size = folder ? 0 : RIG_VOLUME,
    };
    struct backend *backend;

    if (folder) {
        int fd;

        snprintf(path, sizeof(path), "%s/rdisk-unit-XXXXXX", folder);
        fd = mkstemp(path);
        REQUIRE(fd >= 0);
        REQUIRE(ftruncate(fd, RIG_VOLUME) == 0);
        close(fd);
    }
    backend = class->open(&spec, err);
    if (folder) {
        unlink(path);
    }
    return backend;
}

static void check_cannot(const struct backend_class *class, const char *folder,
                         const char *words)
{
    struct rdisk_error err = { 0 };
    struct backend *backend;

    CHECK(!open_with(class, folder, BACKEND_POLL_ON, &err));
    CHECK_EQUAL(err.code, -ENOTSUP);
    CHECK_SAYS(err.text, "volume 'v' has io-poll = on, but ");
    CHECK_SAYS(err.text, words);
    /* Otherwise it is no reason not to be served. */
    backend = open_with(class, folder, BACKEND_POLL_AUTO, &err);
    REQUIRE(backend != NULL);
    CHECK(!backend->polled);
    class->close(backend);
}

static void test_on_where_it_cannot_be(void)
{
    check_cannot(&backend_memory, NULL, "it is in memory");
    check_cannot(&backend_null, NULL, "it is null");
    check_cannot(&backend_file, "/dev/shm", "memory");
}

/* On a disk that has such queues it is polled, and "off" is heeded. */
static void test_disk(void)
{
    struct rdisk_error err = { 0 };
    struct backend *backend = open_with(&backend_file, "/var/tmp",
                                        BACKEND_POLL_ON, &err);

    if (!backend) {
        check_cannot(&backend_file, "/var/tmp", "");
        CHECK(strstr(err.text, "no queues without interrupts") ||
              strstr(err.text, "page cache") ||
              strstr(err.text, "cannot poll"));
        return;
    }
    CHECK(backend->polled);
    backend_file.close(backend);
    backend = open_with(&backend_file, "/var/tmp", BACKEND_POLL_OFF, &err);
    REQUIRE(backend != NULL);
    CHECK(!backend->polled);
    backend_file.close(backend);
}

static void test_words(void)
{
    enum backend_polling polling = BACKEND_POLL_ON;
    struct rdisk_error err = { 0 };

    CHECK_EQUAL(backend_parse_polling(&polling, "x", "auto", &err), 0);
    CHECK_EQUAL(polling, BACKEND_POLL_AUTO);
    CHECK_EQUAL(backend_parse_polling(&polling, "x", "on", &err), 0);
    CHECK_EQUAL(polling, BACKEND_POLL_ON);
    CHECK_EQUAL(backend_parse_polling(&polling, "x", "off", &err), 0);
    CHECK_EQUAL(polling, BACKEND_POLL_OFF);
    CHECK_EQUAL(backend_parse_polling(&polling, "volume 'x'", "yes", &err),
                -EINVAL);
    CHECK_SAYS(err.text, "io-poll = yes of volume 'x' is not one of auto, on");
}

static const struct unit_test tests[] = {
    { "what was written through the polled ring is read", test_keeps },
    { "reads and writes without FUA are polled for, all else is not",
      test_what_is_polled },
    { "slots that are not registered are polled for as well",
      test_unregistered },
    { "a reactor that has polled sleeps when all is done", test_sleeps },
    { "what turns out not to be polled for is served all the same",
      test_falls_back },
    { "what is not to be polled for is not", test_not_asked_for },
    { "io-poll = on is refused, with the reason, where it cannot be",
      test_on_where_it_cannot_be },
    { "a disk is polled if it has queues for that", test_disk },
    { "io-poll is auto, on or off", test_words },
};

UNIT_SUITE("server-poll", tests)
