/* SPDX-License-Identifier: BSD-3-Clause */
/* Which volume it is, and which volatile cache is behind it. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "server/backends/backend.h"
#include "tests/unit/support/unit.h"

static char folder[] = "/tmp/rdisk-unit-XXXXXX";
static struct rdisk_error err;

static void enter(void)
{
    strcpy(folder, "/tmp/rdisk-unit-XXXXXX");
    log_set_level(RDISK_LOG_ERROR);
    REQUIRE(mkdtemp(folder) && chdir(folder) == 0);
}

static void leave(void)
{
    char command[64];

    log_set_level(RDISK_LOG_INFO);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_EQUAL(chdir("/"), 0);
    CHECK_EQUAL(system(command), 0);
}

static void make(const char *name)
{
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);

    REQUIRE(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
    close(fd);
}

/* What a server that starts now would tell of the volume. */
static struct backend look(const struct backend_class *class, const char *path)
{
    struct backend_spec spec = {
        .volume = "v",
        .path = path,
        .directory = AT_FDCWD,
        .size = path ? 0 : 1 << 20,
    };
    struct backend *backend = class->open(&spec, &err);
    struct backend seen;

    REQUIRE(backend != NULL);
    seen = *backend;
    class->close(backend);
    return seen;
}

static bool same_identity(struct backend a, struct backend b)
{
    return !memcmp(a.identity, b.identity, sizeof(a.identity));
}

static bool same_cache(struct backend a, struct backend b)
{
    return !memcmp(a.cache, b.cache, sizeof(a.cache));
}

static void file_stays_itself(void)
{
    struct backend before, after;

    enter();
    make("a");
    before = look(&backend_file, "a");
    CHECK(same_identity(before, look(&backend_file, "a")));
    REQUIRE(truncate("a", 2 << 20) == 0);
    REQUIRE(rename("a", "b") == 0);
    after = look(&backend_file, "b");
    CHECK(same_identity(before, after));
    leave();
}

static void another_file_is_another(void)
{
    struct backend before;

    enter();
    make("a");
    make("b");
    before = look(&backend_file, "a");
    CHECK(!same_identity(before, look(&backend_file, "b")));
    leave();
}

/* Likely with the same inode, when nothing else was made in between. */
static void file_made_again_is_another(void)
{
    enter();
    for (unsigned int i = 0; i < 20; i++) {
        struct backend before;

        make("a");
        before = look(&backend_file, "a");
        REQUIRE(unlink("a") == 0);
        make("a");
        CHECK(!same_identity(before, look(&backend_file, "a")));
        REQUIRE(unlink("a") == 0);
    }
    leave();
}

/* What a server that starts now would tell of a volume called @identity. */
static struct backend look_called(const char *path, const char *identity)
{
    struct backend_spec spec = {
        .volume = "v",
        .path = path,
        .directory = AT_FDCWD,
        .identity = identity,
    };
    struct backend *backend = backend_file.open(&spec, &err);
    struct backend seen;

    REQUIRE(backend != NULL);
    seen = *backend;
    backend_file.close(backend);
    return seen;
}

static void given_identity_is_kept_with_other_data(void)
{
    enter();
    make("a");
    make("b");
    CHECK(
        same_identity(look_called("a", "disk 1"), look_called("b", "disk 1")));
    CHECK(
        !same_identity(look_called("a", "disk 1"), look_called("a", "disk 2")));
    CHECK(!same_identity(look_called("a", "disk 1"), look(&backend_file, "a")));
    leave();
}

static void memory_takes_no_identity(void)
{
    struct backend_spec spec = {
        .volume = "v",
        .size = 4096,
        .identity = "disk 1",
    };

    CHECK(!backend_memory.open(&spec, &err));
    CHECK_SAYS(err.text, "has no path= or identity=");
    CHECK(!backend_null.open(&spec, &err));
    CHECK_SAYS(err.text, "has no path= or identity=");
}

static void cache_of_files_is_the_systems(void)
{
    enter();
    make("a");
    make("b");
    CHECK(same_cache(look(&backend_file, "a"), look(&backend_file, "a")));
    CHECK(same_cache(look(&backend_file, "a"), look(&backend_file, "b")));
    leave();
}

static void memory_dies_with_the_volume(void)
{
    CHECK(!same_identity(look(&backend_memory, NULL),
                         look(&backend_memory, NULL)));
    CHECK(
        !same_cache(look(&backend_memory, NULL), look(&backend_memory, NULL)));
    CHECK(!same_identity(look(&backend_null, NULL), look(&backend_null, NULL)));
}

static const struct unit_test tests[] = {
    { "a file is itself under another name and with another size",
      file_stays_itself },
    { "another file is another volume", another_file_is_another },
    { "a file that was deleted and made again is another volume",
      file_made_again_is_another },
    { "an identity that is given stays, whatever the volume lies on",
      given_identity_is_kept_with_other_data },
    { "a volume that dies with the server takes no identity",
      memory_takes_no_identity },
    { "the cache of files lives as long as the running system",
      cache_of_files_is_the_systems },
    { "a volume in memory is never the one that was lost",
      memory_dies_with_the_volume },
};

UNIT_SUITE("server-identity", tests)
