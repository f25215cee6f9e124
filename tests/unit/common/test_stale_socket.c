/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets that a process has left behind. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/stale_socket.h"
#include "tests/unit/support/unit.h"

static char folder[32];
static struct sockaddr_un address;
static int fd;

static void begin(void)
{
    strcpy(folder, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    address = (struct sockaddr_un) { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
}

static void serve(void)
{
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    REQUIRE(listen(fd, 1) == 0);
}

static bool exists(void)
{
    return access(address.sun_path, F_OK) == 0;
}

static void end(void)
{
    unlink(address.sun_path);
    CHECK_EQUAL(rmdir(folder), 0);
}

static void only_an_unused_socket_is_removed(void)
{
    begin();
    CHECK_EQUAL(stale_socket_remove(&address), 0);
    serve();
    CHECK_EQUAL(stale_socket_remove(&address), -EADDRINUSE);
    CHECK(exists());
    close(fd);
    CHECK_EQUAL(stale_socket_remove(&address), 0);
    CHECK(!exists());
    end();
}

static void a_file_is_kept(void)
{
    FILE *file;

    begin();
    file = fopen(address.sun_path, "w");
    REQUIRE(file != NULL);
    fclose(file);
    CHECK_EQUAL(stale_socket_remove(&address), -EEXIST);
    CHECK(exists());
    end();
}

/* Whether a process listens there is not known then. */
static void without_a_descriptor_it_is_kept(void)
{
    struct rlimit limit, none;

    begin();
    serve();
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    none = limit;
    none.rlim_cur = 0;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_EQUAL(stale_socket_remove(&address), -EMFILE);
    setrlimit(RLIMIT_NOFILE, &limit);
    CHECK(exists());
    close(fd);
    end();
}

static const struct unit_test tests[] = {
    { "a socket is removed only if no process listens there",
      only_an_unused_socket_is_removed },
    { "a file that is not a socket is kept", a_file_is_kept },
    { "without a free descriptor a socket is kept",
      without_a_descriptor_it_is_kept },
};

UNIT_SUITE("stale-socket", tests)
