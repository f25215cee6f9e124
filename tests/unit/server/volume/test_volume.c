/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool of volumes, and who may hold one. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "server/volume/pool.h"
#include "tests/unit/support/lease.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/unit.h"

struct scene {
    char path[64];
    struct pool pool;
    struct rdisk_error err;
};

static void scene_open(struct scene *scene)
{
    memset(scene, 0, sizeof(*scene));
    log_set_level(RDISK_LOG_ERROR);
    strcpy(scene->path, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(scene->path));
    REQUIRE(pool_init(&scene->pool, scene->path, 0, &scene->err) == 0);
}

static void scene_close(struct scene *scene)
{
    char command[100];

    pool_destroy(&scene->pool);
    snprintf(command, sizeof(command), "rm -r %s", scene->path);
    CHECK_EQUAL(system(command), 0);
    log_set_level(RDISK_LOG_INFO);
}

static void make_file(struct scene *scene, const char *name, off_t size)
{
    int fd = openat(scene->pool.directory, name, O_CREAT | O_RDWR, 0600);

    REQUIRE(fd >= 0);
    REQUIRE(ftruncate(fd, size) == 0);
    close(fd);
}

static struct volume_holder holder(const char *peer, char client,
                                   uint64_t epoch, bool writer, bool shared)
{
    struct volume_holder one = {
        .epoch = epoch,
        .writer = writer,
        .shared = shared,
    };

    strcpy(one.peer, peer);
    memset(one.client, client, sizeof(one.client));
    return one;
}

/* ---- Pool ------------------------------------------------------------- */

static void test_life(void)
{
    struct scene scene;
    struct volume *volume, *again;
    struct stat st;

    scene_open(&scene);
    CHECK_EQUAL(pool_create(&scene.pool, "a", 1 << 20, &scene.err), 0);
    CHECK_EQUAL(fstatat(scene.pool.directory, "a", &st, 0), 0);
    CHECK_EQUAL(st.st_size, 1 << 20);
    CHECK_EQUAL(st.st_mode & 0777, 0600);
    CHECK_EQUAL(pool_create(&scene.pool, "a", 1 << 20, &scene.err), -EEXIST);
    CHECK_EQUAL(pool_count(&scene.pool), 1);

    volume = pool_get(&scene.pool, "a", &scene.err);
    REQUIRE(volume != NULL);
    again = pool_get(&scene.pool, "a", &scene.err);
    CHECK(again == volume);
    CHECK_EQUAL(pool_count(&scene.pool), 1);
    pool_put(&scene.pool, again);
    CHECK(scene.pool.volumes == volume);
    pool_put(&scene.pool, volume);
    CHECK(scene.pool.volumes == NULL);

    CHECK_EQUAL(pool_resize(&scene.pool, "a", 2 << 20, true, &scene.err), 0);
    CHECK_EQUAL(fstatat(scene.pool.directory, "a", &st, 0), 0);
    CHECK_EQUAL(st.st_size, 2 << 20);
    CHECK_EQUAL(pool_delete(&scene.pool, "a", &scene.err), 0);
    CHECK_EQUAL(pool_delete(&scene.pool, "a", &scene.err), -ENOENT);
    CHECK_EQUAL(pool_count(&scene.pool), 0);
    scene_close(&scene);
}

static void test_stays_inside(void)
{
    static const char *const names[] = {
        "../x", "a/b", "/etc/passwd", ".", "..", ".x", "-x", "", "a b", "a\nb",
    };
    struct scene scene;

    scene_open(&scene);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK(!pool_get(&scene.pool, names[i], &scene.err));
        CHECK_EQUAL(scene.err.code, -EINVAL);
        CHECK(pool_create(&scene.pool, names[i], 512, &scene.err) < 0);
        CHECK(pool_delete(&scene.pool, names[i], &scene.err) < 0);
        CHECK(pool_resize(&scene.pool, names[i], 512, true, &scene.err) < 0);
    }
    /* A link would lead out of the pool; a FIFO would block the server. */
    REQUIRE(symlinkat("/etc/passwd", scene.pool.directory, "link") == 0);
    REQUIRE(mkfifoat(scene.pool.directory, "fifo", 0600) == 0);
    REQUIRE(mkdirat(scene.pool.directory, "folder", 0700) == 0);
    CHECK(!pool_get(&scene.pool, "link", &scene.err));
    CHECK(!pool_get(&scene.pool, "fifo", &scene.err));
    CHECK(!pool_get(&scene.pool, "folder", &scene.err));
    CHECK_EQUAL(pool_delete(&scene.pool, "link", &scene.err), -EINVAL);
    CHECK_EQUAL(pool_count(&scene.pool), 0);
    scene_close(&scene);
}

static void test_odd_sizes(void)
{
    struct scene scene;

    scene_open(&scene);
    make_file(&scene, "odd", 1000);
    CHECK(!pool_get(&scene.pool, "odd", &scene.err));
    CHECK_SAYS(scene.err.text, "1000 bytes, is not a multiple of 512");
    make_file(&scene, "none", 0);
    CHECK(!pool_get(&scene.pool, "none", &scene.err));
    CHECK_SAYS(scene.err.text, "empty");
    CHECK_EQUAL(pool_create(&scene.pool, "v", 1000, &scene.err), -EINVAL);
    CHECK_EQUAL(pool_create(&scene.pool, "v", 0, &scene.err), -EINVAL);
    CHECK_EQUAL(pool_create(&scene.pool, "v", UINT64_MAX - 511, &scene.err),
                -EFBIG);
    scene_close(&scene);
}

static void test_held_is_left_alone(void)
{
    struct volume_holder one = holder("10.9.0.7:1234", 'a', 1, true, false);
    struct scene scene;
    struct volume *volume;

    scene_open(&scene);
    CHECK_EQUAL(pool_create(&scene.pool, "a", 4096, &scene.err), 0);
    volume = pool_get(&scene.pool, "a", &scene.err);
    REQUIRE(volume != NULL);
    REQUIRE(pool_lease(&scene.pool, volume, 0, &scene.err) == 0);
    CHECK_EQUAL(volume_hold(volume, &one, &scene.err), 0);
    CHECK_EQUAL(pool_delete(&scene.pool, "a", &scene.err), -EBUSY);
    CHECK_SAYS(scene.err.text, "10.9.0.7:1234");
    CHECK_EQUAL(pool_resize(&scene.pool, "a", 2048, true, &scene.err), -EBUSY);
    CHECK_SAYS(scene.err.text, "10.9.0.7:1234");
    CHECK_EQUAL(pool_resize(&scene.pool, "a", 8192, true, &scene.err), 0);
    CHECK_EQUAL(volume->backend->geometry.size, 8192);
    volume_release(&one, true, 0);
    pool_put(&scene.pool, volume);
    CHECK_EQUAL(pool_resize(&scene.pool, "a", 4096, true, &scene.err), 0);
    CHECK_EQUAL(pool_delete(&scene.pool, "a", &scene.err), 0);
    scene_close(&scene);
}

static void test_configured(void)
{
    struct backend_spec spec = {
        .volume = "m",
        .size = 4096,
        .directory = AT_FDCWD,
    };
    struct scene scene;
    struct volume *volume;

    scene_open(&scene);
    CHECK_EQUAL(pool_configure(&scene.pool, &backend_memory, &spec, &scene.err),
                0);
    CHECK_EQUAL(pool_configure(&scene.pool, &backend_memory, &spec, &scene.err),
                -EEXIST);
    CHECK_EQUAL(pool_create(&scene.pool, "m", 512, &scene.err), -EEXIST);
    CHECK_EQUAL(pool_delete(&scene.pool, "m", &scene.err), -EPERM);
    CHECK_EQUAL(pool_resize(&scene.pool, "m", 8192, true, &scene.err), 0);
    volume = pool_get(&scene.pool, "m", &scene.err);
    REQUIRE(volume != NULL);
    CHECK_EQUAL(volume->backend->geometry.size, 8192);
    pool_put(&scene.pool, volume);
    /* What is in memory outlives its last session. */
    CHECK(scene.pool.volumes == volume);
    scene_close(&scene);
}

static void test_one_file_one_volume(void)
{
    char path[100];
    struct backend_spec spec = {
        .volume = "alias",
        .path = path,
        .directory = AT_FDCWD,
    };
    struct scene scene;
    struct volume *volume;

    scene_open(&scene);
    CHECK_EQUAL(pool_create(&scene.pool, "a", 4096, &scene.err), 0);
    volume = pool_get(&scene.pool, "a", &scene.err);
    REQUIRE(volume != NULL);
    snprintf(path, sizeof(path), "%s/a", scene.path);
    CHECK_EQUAL(pool_configure(&scene.pool, &backend_file, &spec, &scene.err),
                -EBUSY);
    CHECK_SAYS(scene.err.text, "locked");
    pool_put(&scene.pool, volume);
    CHECK_EQUAL(pool_configure(&scene.pool, &backend_file, &spec, &scene.err),
                0);
    scene_close(&scene);
}

static int configure(struct scene *scene, const char *name, const char *file,
                     const char *identity, bool read_only)
{
    char path[100];
    struct backend_spec spec = {
        .volume = name,
        .path = path,
        .directory = AT_FDCWD,
        .identity = identity,
        .read_only = read_only,
    };

    snprintf(path, sizeof(path), "%s/%s", scene->path, file);
    return pool_configure(&scene->pool, &backend_file, &spec, &scene->err);
}

static void test_one_identity_one_volume(void)
{
    struct scene scene;

    scene_open(&scene);
    make_file(&scene, "a", 4096);
    make_file(&scene, "b", 4096);
    make_file(&scene, "c", 4096);
    CHECK_EQUAL(configure(&scene, "one", "a", "disk", false), 0);
    CHECK_EQUAL(configure(&scene, "two", "b", "disk", false), -EEXIST);
    CHECK_SAYS(scene.err.text, "volume 'two' has the identity of volume "
                               "'one', so clients cannot distinguish them");
    CHECK_EQUAL(configure(&scene, "two", "b", "disk", true), -EEXIST);
    CHECK_EQUAL(configure(&scene, "two", "b", "other", true), 0);
    /* No client writes to either. */
    CHECK_EQUAL(configure(&scene, "three", "c", "other", true), 0);
    scene_close(&scene);
}

static void test_no_pool(void)
{
    struct rdisk_error err;
    struct pool pool;

    REQUIRE(pool_init(&pool, "", 0, &err) == 0);
    CHECK_EQUAL(pool_create(&pool, "a", 512, &err), -ENOTSUP);
    CHECK(!pool_get(&pool, "a", &err));
    CHECK_EQUAL(err.code, -ENOENT);
    CHECK_EQUAL(pool_count(&pool), 0);
    pool_destroy(&pool);
    CHECK_EQUAL(pool_init(&pool, "/nonexistent/pool", 0, &err), -ENOENT);
    CHECK_SAYS(err.text, "/nonexistent/pool");
}

/* ---- Holders ---------------------------------------------------------- */

static struct lease lease = { .name = "v" };
static struct volume volume = { .name = "v", .lease = &lease };

static enum rdisk_status ask(struct volume_holder *wanted,
                             struct volume_holder **older,
                             struct rdisk_error *err)
{
    return volume_check(&volume, wanted, 0, older, err);
}

static void hold(struct volume_holder *one)
{
    struct rdisk_error err;

    CHECK_EQUAL(volume_hold(&volume, one, &err), 0);
}

static void test_one_writer(void)
{
    struct volume_holder writer = holder("peer-a", 'a', 1, true, false);
    struct volume_holder second = holder("peer-b", 'b', 1, true, false);
    struct volume_holder reader = holder("peer-c", 'c', 1, false, false);
    struct volume_holder *older;
    struct rdisk_error err;

    hold(&reader);
    CHECK_EQUAL(ask(&writer, &older, &err), RDISK_STATUS_OK);
    hold(&writer);
    CHECK_EQUAL(ask(&second, &older, &err), RDISK_STATUS_BUSY);
    CHECK_SAYS(err.text, "peer-a");
    second.writer = false;
    CHECK_EQUAL(ask(&second, &older, &err), RDISK_STATUS_OK);
    volume_release(&writer, true, 0);
    second.writer = true;
    CHECK_EQUAL(ask(&second, &older, &err), RDISK_STATUS_OK);
    volume_release(&reader, true, 0);
    CHECK(!volume.holders);
}

static void test_shared_by_all(void)
{
    struct volume_holder a = holder("peer-a", 'a', 1, true, true);
    struct volume_holder b = holder("peer-b", 'b', 1, true, true);
    struct volume_holder *older;
    struct rdisk_error err;

    hold(&a);
    CHECK_EQUAL(ask(&b, &older, &err), RDISK_STATUS_OK);
    b.shared = false;
    CHECK_EQUAL(ask(&b, &older, &err), RDISK_STATUS_BUSY);
    b.shared = true;
    a.shared = false;
    CHECK_EQUAL(ask(&b, &older, &err), RDISK_STATUS_BUSY);
    volume_release(&a, true, 0);
}

static void test_newer_epoch_fences(void)
{
    struct volume_holder first = holder("peer-a", 'a', 1, true, false);
    struct volume_holder again = holder("peer-a2", 'a', 2, true, false);
    struct volume_holder *older;
    struct rdisk_error err;

    hold(&first);
    CHECK_EQUAL(ask(&again, &older, &err), RDISK_STATUS_OK);
    CHECK(older == &first);
    /* Fenced is not gone: its requests may still be in flight. */
    first.fenced = true;
    CHECK_EQUAL(ask(&again, &older, &err), RDISK_STATUS_OK);
    CHECK(older == &first);
    volume_release(&first, true, 0);
    CHECK_EQUAL(ask(&again, &older, &err), RDISK_STATUS_OK);
    CHECK(older == NULL);
    hold(&again);
    /* The one that was fenced cannot come back, even with what it had. */
    first.fenced = false;
    CHECK_EQUAL(ask(&first, &older, &err), RDISK_STATUS_STALE);
    CHECK_SAYS(err.text, "epoch 1");
    first.epoch = 2;
    CHECK_EQUAL(ask(&first, &older, &err), RDISK_STATUS_STALE);
    volume_release(&again, true, 0);
}

static void test_peers(void)
{
    struct volume_holder a = holder("10.0.0.1:1", 'a', 1, true, true);
    struct volume_holder b = holder("10.0.0.2:2", 'b', 1, true, true);
    char text[64], tiny[8];

    CHECK(volume_peers(&volume, text, sizeof(text))[0] == '\0');
    hold(&a);
    hold(&b);
    CHECK_SAYS(volume_peers(&volume, text, sizeof(text)),
               "10.0.0.2:2 and 10.0.0.1:1");
    CHECK_EQUAL(strlen(volume_peers(&volume, tiny, sizeof(tiny))), 7);
    volume_release(&a, true, 0);
    volume_release(&b, true, 0);
}

static const struct unit_test tests[] = {
    { "a volume is created, shared, resized and deleted", test_life },
    { "no name, link or special file leads out of the pool",
      test_stays_inside },
    { "sizes that are no multiple of 512 are refused with a sentence",
      test_odd_sizes },
    { "a held volume is not deleted or made smaller; its peer is named",
      test_held_is_left_alone },
    { "a configured volume stays open and cannot be deleted", test_configured },
    { "one file is never two volumes", test_one_file_one_volume },
    { "one identity is never two volumes, unless no client can write to "
      "either",
      test_one_identity_one_volume },
    { "without a pool directory nothing is created", test_no_pool },
    { "one writer, any number of readers; BUSY names the writer",
      test_one_writer },
    { "writers share only if all ask for it", test_shared_by_all },
    { "a client's newer epoch fences the older, which stays stale",
      test_newer_epoch_fences },
    { "the peers of a volume are listed within bounds", test_peers },
};

UNIT_SUITE("server-volume", tests)
