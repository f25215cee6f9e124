/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The backend rbd on a real cluster (tests/ceph/run): CEPH_CONF names its
 * configuration, and RDISK_CEPH the folder with its programs' pids.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "server/backends/module.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"
#include <rdisk/env.h>

#define TIMEOUT_S 4u /* of a request, and of a connect */
#define OBJECT    (4u << 20)
#define SECOND    (1000 * RDISK_MSEC)

static struct backend_ceph ceph = {
    .user = "admin",
    .keyring = "",
    .op_timeout_s = TIMEOUT_S,
    .connect_timeout_s = TIMEOUT_S,
    .server = "unit",
    .instance = "2",
};

static const struct backend_class *class(void)
{
    return rdisk_backend_module.class;
}

static struct backend_spec spec_of(const char *path)
{
    ceph.config = getenv("CEPH_CONF");
    REQUIRE(ceph.config != NULL);
    return (struct backend_spec) {
        .volume = "v",
        .path = path,
        .ceph = &ceph,
    };
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

/* A new image of 4 MiB, RIG_VOLUME, open. */
static void begin(struct rig *rig, const char *name)
{
    char path[64];
    struct backend_spec spec;

    snprintf(path, sizeof(path), "rbd/%s", name);
    spec = spec_of(path);
    run("rbd create --size 4M rbd/%s", name);
    memset(rig, 0, sizeof(*rig));
    rig_open(rig, class(), &spec);
}

static void end(struct rig *rig, const char *name)
{
    rig_close(rig);
    run("rbd rm --no-progress rbd/%s", name);
}

static void check_refused(struct backend_spec spec, int code, const char *words)
{
    struct rdisk_error err = { 0 };
    struct backend *backend = class()->open(&spec, &err);

    CHECK(!backend);
    if (backend) {
        class()->close(backend);
        return;
    }
    CHECK_EQUAL(err.code, code);
    CHECK_SAYS(err.text, words);
}

/* ---- Bytes -------------------------------------------------------------- */

static void test_keeps(void)
{
    struct rig rig;

    begin(&rig, "keeps");
    CHECK_EQUAL(rig.backend->geometry.size, RIG_VOLUME);
    CHECK(rig.backend->lasting && !rig.backend->geometry.read_only);
    rig_check_keeps(&rig);
    rig_check_many(&rig);
    end(&rig, "keeps");
}

static void test_two_reactors(void)
{
    struct rig first, second;

    begin(&first, "two");
    rig_join(&second, first.backend);
    rig_check_many(&first);
    memset(second.memory, 0, 4096);
    CHECK_EQUAL(rig_io(&second, RDISK_OP_READ, 0, 8192, 4096), 0);
    CHECK_EQUAL(second.memory[17], rig_pattern(1, 0, 9));
    rig_check_many(&second);
    rig_leave(&second);
    end(&first, "two");
}

static void test_outlives(void)
{
    struct backend_spec spec = spec_of("rbd/outlives");
    uint8_t identity[RDISK_ID_SIZE];
    struct rig rig;

    begin(&rig, "outlives");
    memcpy(identity, rig.backend->identity, sizeof(identity));
    memset(rig.memory, 'k', 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 65536, 4096), 0);
    memset(rig.memory, 0, 4096);
    rig_reopen(&rig, &spec);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 65536, 4096), 0);
    CHECK_EQUAL(rig.memory[4095], 'k');
    CHECK(memcmp(identity, rig.backend->identity, sizeof(identity)) == 0);
    end(&rig, "outlives");
}

static void test_ranges(void)
{
    struct rig rig;

    begin(&rig, "ranges");
    rig_check_ranges(&rig);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_ZEROES, RDISK_REQUEST_FAST, 0, 4096),
                -ENOTSUP);
    end(&rig, "ranges");
}

/* ---- Allocation --------------------------------------------------------- */

static unsigned int extents(struct rig *rig, uint64_t length, unsigned int room,
                            struct rdisk_wire_extent *list)
{
    struct backend_io io = {
        .op = RDISK_OP_EXTENTS,
        .length = length,
        .room = room,
        .data = list,
        .buffer = { -1, -1 },
    };

    CHECK_EQUAL(rig_submit(rig, &io, 1), 0);
    return io.done;
}

static void test_extents(void)
{
    struct backend_spec spec = spec_of("rbd/extents");
    struct rdisk_wire_extent list[8];
    struct rig rig = { 0 };
    uint64_t allocated;

    /* Longer than a piece of the walk, whose runs must be merged. */
    run("rbd create --size 256M rbd/extents");
    rig_open(&rig, class(), &spec);
    memset(rig.memory, 'x', RIG_MEMORY);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 100u << 20, 65536), 0);
    CHECK_EQUAL(extents(&rig, 256u << 20, 8, list), 3);
    CHECK_EQUAL(le64toh(list[0].length), 100u << 20);
    CHECK_EQUAL(le32toh(list[0].flags), RDISK_EXTENT_HOLE | RDISK_EXTENT_ZERO);
    CHECK_EQUAL(le64toh(list[1].length), 65536);
    CHECK_EQUAL(le32toh(list[1].flags), 0);
    CHECK_EQUAL(le64toh(list[2].length), (156u << 20) - 65536);
    /* A list that is full ends in the middle. */
    CHECK_EQUAL(extents(&rig, 256u << 20, 2, list), 2);
    CHECK_EQUAL(le64toh(list[1].length), 65536);
    CHECK_EQUAL(class()->allocated(rig.backend, &allocated), 0);
    CHECK_EQUAL(allocated, OBJECT);
    end(&rig, "extents");
}

/* ---- Size --------------------------------------------------------------- */

static void test_resize(void)
{
    struct rig rig;

    begin(&rig, "resize");
    memset(rig.memory, 'x', 8192);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 8192), 0);
    CHECK_EQUAL(class()->resize(rig.backend, 4096, &rig.err), 0);
    /* Behind the end: an error, and no old bytes. */
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 8192), -EIO);
    CHECK_EQUAL(class()->resize(rig.backend, 2 * RIG_VOLUME, &rig.err), 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 8192), 0);
    CHECK_EQUAL(rig.memory[4095], 'x');
    CHECK_EQUAL(rig.memory[4096], 0);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 2 * RIG_VOLUME - 4096, 4096),
                0);
    run("rbd info rbd/resize | grep -q 'size 8 MiB'");
    end(&rig, "resize");
}

/* ---- Who may write ------------------------------------------------------- */

static void test_locked(void)
{
    struct backend_spec spec = spec_of("rbd/locked");
    struct backend *reader;
    struct rdisk_error err;
    struct rig rig;

    begin(&rig, "locked");
    check_refused(spec, -EBUSY, "another client of the Ceph cluster");
    spec.read_only = true;
    reader = class()->open(&spec, &err);
    CHECK(reader && reader->geometry.read_only);
    class()->close(reader);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 4096), 0);
    end(&rig, "locked");
}

static void *open_and_die(void *opaque)
{
    ceph.instance = "1";
    if (class()->open(opaque, NULL)) {
        raise(SIGKILL);
    }
    _exit(1);
}

/* A process of the same server opens the image, and is killed. In a thread of
 * its own, where librados does not go on with this one's random numbers: it
 * would have the address that the next connection here gets. */
static void killed_with(const char *path)
{
    struct backend_spec spec = spec_of(path);
    pid_t child = fork();
    pthread_t thread;
    int status;

    REQUIRE(child >= 0);
    if (child == 0) {
        pthread_create(&thread, NULL, open_and_die, &spec);
        pthread_join(thread, NULL);
        _exit(1);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
}

/* The cluster itself takes 30 seconds. */
static void test_predecessor(void)
{
    struct backend_spec spec = spec_of("rbd/killed");
    struct rig rig = { 0 };
    uint64_t began;

    run("rbd create --size 4M rbd/killed");
    killed_with("rbd/killed");
    began = rdisk_now(&rdisk_env_system);
    rig_open(&rig, class(), &spec);
    CHECK(rdisk_now(&rdisk_env_system) - began < 25 * SECOND);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 4096), 0);
    end(&rig, "killed");
}

static void test_other_server(void)
{
    struct backend_spec spec = spec_of("rbd/moved");
    struct rig rig;

    begin(&rig, "moved");
    rig_close(&rig);
    ceph.server = "other";
    check_refused(spec, -EBUSY,
                  "run 'rbd image-meta remove rbd/moved rdisk.holder'");
    run("rbd image-meta remove rbd/moved rdisk.holder");
    rig_open(&rig, class(), &spec);
    ceph.server = "unit";
    end(&rig, "moved");
}

static void test_unlockable(void)
{
    run("rbd create --size 4M --image-feature layering rbd/unlockable");
    check_refused(spec_of("rbd/unlockable"), -ENOTSUP,
                  "rbd feature enable rbd/unlockable exclusive-lock");
    run("rbd rm --no-progress rbd/unlockable");
}

static void test_snapshot(void)
{
    struct backend_spec spec = spec_of("rbd/shot@then");
    struct rig rig, then = { 0 };

    begin(&rig, "shot");
    memset(rig.memory, 'a', 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 4096), 0);
    run("rbd snap create --no-progress rbd/shot@then");
    memset(rig.memory, 'b', 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 4096), 0);
    rig_open(&then, class(), &spec);
    CHECK(then.backend->geometry.read_only);
    CHECK(memcmp(then.backend->identity, rig.backend->identity,
                 RDISK_ID_SIZE) != 0);
    CHECK_EQUAL(rig_io(&then, RDISK_OP_READ, 0, 0, 4096), 0);
    CHECK_EQUAL(then.memory[0], 'a');
    CHECK_EQUAL(rig_io(&then, RDISK_OP_WRITE, 0, 0, 4096), -EROFS);
    rig_close(&then);
    run("rbd snap rm --no-progress rbd/shot@then");
    end(&rig, "shot");
}

static void test_bad_specs(void)
{
    struct backend_spec spec = spec_of(NULL);

    check_refused(spec, -EINVAL, "needs path=");
    check_refused(spec_of("image"), -EINVAL, "is not POOL/IMAGE");
    check_refused(spec_of("a/b/c/d"), -EINVAL, "is not POOL/IMAGE");
    check_refused(spec_of("rbd/image@"), -EINVAL, "is not POOL/IMAGE");
    check_refused(spec_of("rbd/absent"), -ENOENT, "no image");
    check_refused(spec_of("absent/image"), -ENOENT, "pool 'absent'");
    check_refused(spec_of("rbd/space/absent"), -ENOENT, "no image");
    spec = spec_of("rbd/image");
    spec.size = 512;
    check_refused(spec, -EINVAL, "no size=");
}

/* ---- A cluster that is full, or does not answer -------------------------- */

static void signal_program(const char *program, int signal)
{
    char path[256];
    FILE *file;
    int pid;

    snprintf(path, sizeof(path), "%s/%s.pid", getenv("RDISK_CEPH"), program);
    file = fopen(path, "r");
    REQUIRE(file != NULL);
    REQUIRE(fscanf(file, "%d", &pid) == 1);
    fclose(file);
    REQUIRE(kill(pid, signal) == 0);
    if (signal == SIGSTOP) {
        /* Each of its threads stops when it has a core. */
        run("while grep -L '^State:.T' /proc/%d/task/*/status | grep -q .; do "
            "sleep 0.05; done",
            pid);
    }
}

static void test_stopped_osd(void)
{
    uint64_t began, took;
    struct rig rig;

    begin(&rig, "stopped");
    memset(rig.memory, 's', 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 4096), 0);
    signal_program("osd.0", SIGSTOP);
    began = rdisk_now(&rdisk_env_system);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 4096), -ETIMEDOUT);
    took = rdisk_now(&rdisk_env_system) - began;
    signal_program("osd.0", SIGCONT);
    CHECK(took >= (TIMEOUT_S - 1) * SECOND);
    CHECK(took < 3 * TIMEOUT_S * SECOND);
    memset(rig.memory, 0, 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 4096), 0);
    CHECK_EQUAL(rig.memory[0], 's');
    end(&rig, "stopped");
}

static void test_no_quorum(void)
{
    uint64_t began;

    signal_program("mon.a", SIGSTOP);
    began = rdisk_now(&rdisk_env_system);
    check_refused(spec_of("rbd/any"), -ETIMEDOUT, "have no quorum");
    CHECK(rdisk_now(&rdisk_env_system) - began < 3 * TIMEOUT_S * SECOND);
    signal_program("mon.a", SIGCONT);
}

/* Last, since it takes the cluster half a minute to have space again. */
static void test_full(void)
{
    struct rig rig;
    uint64_t began, offset = 1u << 20;
    int result;

    begin(&rig, "full");
    memset(rig.memory, 'f', 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 4096), 0);
    run("for name in nearfull backfillfull full; do"
        "  ceph osd set-$name-ratio 0.00005; done >/dev/null 2>&1");
    run("timeout 20 sh -c 'until ceph osd dump | grep -q ^pool.*full; do "
        "sleep 0.2; done'");
    /*
     * The OSD gets the map that says so a moment after the monitor.  A write
     * that takes no more space succeeds even then.
     */
    do {
        usleep(100000);
        began = rdisk_now(&rdisk_env_system);
        result = rig_io(&rig, RDISK_OP_WRITE, 0, offset, 4096);
        offset += 4096;
    } while (result == 0 && offset < (2u << 20));
    CHECK_EQUAL(result, -ENOSPC);
    CHECK(rdisk_now(&rdisk_env_system) - began < TIMEOUT_S * SECOND);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 4096), 0);
    rig_close(&rig);
}

static const struct unit_test tests[] = {
    { "an image keeps what was written, many at once", test_keeps },
    { "two reactors have one image", test_two_reactors },
    { "an image that is opened again is the same volume", test_outlives },
    { "zeroes read as such, and what is beside them stays", test_ranges },
    { "extents are what was written, across pieces", test_extents },
    { "a resize is seen by the cluster, and brings no old bytes back",
      test_resize },
    { "an image that is served has no other writer", test_locked },
    { "the lock of a process that was killed is the next one's at once",
      test_predecessor },
    { "an image that another server has written is not opened",
      test_other_server },
    { "an image that cannot be locked is not written", test_unlockable },
    { "a snapshot is a volume that cannot be written", test_snapshot },
    { "a spec that cannot be is refused with a sentence", test_bad_specs },
    { "a cluster that does not answer fails a request in time",
      test_stopped_osd },
    { "without monitors an open fails in time", test_no_quorum },
    { "a full cluster fails a write at once, and no read", test_full },
};

UNIT_SUITE("ceph-image", tests)
