/* SPDX-License-Identifier: BSD-3-Clause */
/* The backend that serves a file from memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/backends/backend.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

static char path[64];
static char *content;
static struct rdisk_error err;

static void make_file(size_t size)
{
    int fd;

    snprintf(path, sizeof(path), "/var/tmp/rdisk-resident-XXXXXX");
    fd = mkstemp(path);
    content = malloc(size);
    REQUIRE(fd >= 0 && content);
    for (size_t i = 0; i < size; i++) {
        content[i] = (char)(i * 31 + i / 4096);
    }
    CHECK_EQUAL(write(fd, content, size), (ssize_t)size);
    close(fd);
}

static void end(void)
{
    unlink(path);
    free(content);
}

static struct backend_spec spec_of(void)
{
    return (struct backend_spec) {
        .volume = "image",
        .path = path,
        .directory = AT_FDCWD,
        .read_only = true,
    };
}

static void keeps_the_file(void)
{
    struct backend_spec spec = spec_of();
    struct backend *backend, *file;

    make_file(RIG_VOLUME);
    backend = backend_resident.open(&spec, &err);
    file = backend_file.open(&spec, &err);
    REQUIRE(backend && file);
    CHECK_EQUAL(backend->geometry.size, RIG_VOLUME);
    CHECK(backend->geometry.read_only && !backend->class->resize);
    CHECK(!memcmp(backend->identity, file->identity, RDISK_ID_SIZE));
    CHECK(!memcmp(backend->resident, content, RIG_VOLUME));
    CHECK_EQUAL((uintptr_t)backend->resident % 4096, 0);
    file->class->close(file);
    backend->class->close(backend);
    end();
}

static void says_how_far_it_is(void)
{
    struct backend_spec spec = spec_of();
    _Atomic uint64_t loaded = 0;
    struct backend *backend;

    make_file(RIG_VOLUME);
    spec.loaded = &loaded;
    backend = backend_resident.open(&spec, &err);
    REQUIRE(backend != NULL);
    CHECK(backend->class->loads);
    CHECK_EQUAL(loaded, RIG_VOLUME);
    backend->class->close(backend);
    end();
}

static void file_may_change(void)
{
    struct backend_spec spec = spec_of();
    struct backend *backend;

    make_file(RIG_VOLUME);
    backend = backend_resident.open(&spec, &err);
    REQUIRE(backend != NULL);
    CHECK_EQUAL(truncate(path, 512), 0);
    CHECK(!memcmp(backend->resident, content, RIG_VOLUME));
    unlink(path);
    CHECK(!memcmp(backend->resident, content, RIG_VOLUME));
    backend->class->close(backend);
    end();
}

/* What is left open would be written to by another volume's client. */
static void nobody_else_writes(void)
{
    struct backend_spec spec = spec_of();
    struct backend *backend;

    make_file(4096);
    backend = backend_resident.open(&spec, &err);
    REQUIRE(backend != NULL);
    spec.read_only = false;
    CHECK(!backend_file.open(&spec, &err));
    CHECK_SAYS(err.text, "is locked");
    backend->class->close(backend);
    end();
}

static void leaves_the_data(void)
{
    struct backend_spec spec = spec_of();
    struct rig rig = { 0 };
    struct backend_io io = {
        .op = RDISK_OP_READ,
        .offset = 8192,
        .length = 4096,
        .buffer = { -1, -1 },
    };

    make_file(RIG_VOLUME);
    rig_open(&rig, &backend_resident, &spec);
    io.data = rig.memory;
    memset(rig.memory, 0x5a, 4096);
    CHECK_EQUAL(rig_submit(&rig, &io, 1), 0);
    CHECK(io.stored == (const char *)rig.backend->resident + 8192);
    CHECK_EQUAL(rig.memory[0], 0x5a);
    rig_close(&rig);
    end();
}

static void cannot_be_written(void)
{
    struct backend_spec spec = spec_of();

    make_file(4096);
    spec.read_only = false;
    CHECK(!backend_resident.open(&spec, &err));
    CHECK_SAYS(err.text, "read-only = on");
    spec = spec_of();
    spec.path = NULL;
    CHECK(!backend_resident.open(&spec, &err));
    CHECK_SAYS(err.text, "needs path=");
    spec = spec_of();
    spec.polling = BACKEND_POLL_ON;
    CHECK(!backend_resident.open(&spec, &err));
    CHECK_SAYS(err.text, "it is resident");
    end();
}

/* A file of holes, of more bytes than any machine has. */
static void more_than_memory(void)
{
    struct backend_spec spec = spec_of();

    make_file(4096);
    REQUIRE(truncate(path, 1ll << 43) == 0);
    CHECK(!backend_resident.open(&spec, &err));
    CHECK_SAYS(err.text, "memory that are available");
    end();
}

static const struct unit_test tests[] = {
    { "a resident volume has the file's data, size and identity",
      keeps_the_file },
    { "while it is read it says how much has been", says_how_far_it_is },
    { "what becomes of the file changes nothing that is served",
      file_may_change },
    { "its file is not written by another volume meanwhile",
      nobody_else_writes },
    { "a read leaves the data where it is", leaves_the_data },
    { "a volume that may be written cannot be resident", cannot_be_written },
    { "a volume larger than the available memory is refused",
      more_than_memory },
};

UNIT_SUITE("server-resident", tests)
