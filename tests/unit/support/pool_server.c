/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/pool_server.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/session/barrier.h"
#include "server/session/snapshot.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/reflink.h"
#include "tests/unit/support/unit.h"

struct server pool_server;

static struct records records;
static char folder[64];

void pool_server_open(void)
{
    struct rdisk_error err;

    pool_server = (struct server) { .env = &rdisk_env_system };
    REQUIRE(mailbox_init(&pool_server.mailbox) == 0);
    operations_init(&pool_server.operations, NULL);
    REQUIRE(pool_init(&pool_server.pool, folder, 0, &err) == 0);
    REQUIRE(records_init(&records, NULL, folder) == 0);
    pool_server.pool.records = &records;
}

void pool_server_close(void)
{
    pool_destroy(&pool_server.pool);
    records_destroy(&records);
    mailbox_destroy(&pool_server.mailbox);
}

static void begin(void)
{
    struct rdisk_error err;

    log_set_level(QUIET);
    pool_server_open();
    REQUIRE(pool_create(&pool_server.pool, "v", POOL_VOLUME_SIZE, &err) == 0);
}

void pool_server_begin(void)
{
    plain_folder(folder, sizeof(folder));
    begin();
}

bool pool_server_begin_shared(void)
{
    if (!reflink_folder(folder, sizeof(folder))) {
        return false;
    }
    begin();
    return true;
}

void pool_server_end(void)
{
    pool_server_close();
    remove_folder(folder);
    log_set_level(RDISK_LOG_INFO);
}

void pool_server_turn(int ms)
{
    struct pollfd pfd = { .fd = pool_server.mailbox.fd, .events = POLLIN };

    poll(&pfd, 1, ms);
    mailbox_run(&pool_server.mailbox);
    barriers_check_time(&pool_server, rdisk_now(&rdisk_env_system));
}

/* ---- A snapshot ---------------------------------------------------------- */

static bool done;

static void made(struct snapshot *snapshot)
{
    done = true;
}

int pool_server_snapshot(const char *source, const char *target,
                         uint64_t *pause, struct rdisk_error *err)
{
    struct snapshot snapshot = { .server = &pool_server, .done = made };

    done = false;
    snprintf(snapshot.work.operation.volume,
             sizeof(snapshot.work.operation.volume), "%s", source);
    snprintf(snapshot.target, sizeof(snapshot.target), "%s", target);
    snapshot_start(&snapshot);
    while (!done) {
        pool_server_turn(20);
    }
    if (pause) {
        *pause = snapshot.pause;
    }
    *err = snapshot.work.why;
    return snapshot.work.result;
}

/* ---- Its files ----------------------------------------------------------- */

bool pool_has_file(const char *name)
{
    return faccessat(pool_server.pool.directory, name, F_OK,
                     AT_SYMLINK_NOFOLLOW) == 0;
}

void pool_put_text(const char *name, uint64_t offset, const char *text)
{
    int fd = openat(pool_server.pool.directory, name, O_WRONLY);

    REQUIRE(fd >= 0);
    CHECK_EQUAL(pwrite(fd, text, strlen(text), offset), strlen(text));
    close(fd);
}

bool pool_has_text(const char *name, uint64_t offset, const char *text)
{
    int fd = openat(pool_server.pool.directory, name, O_RDONLY);
    char read[64] = "";

    REQUIRE(fd >= 0);
    CHECK(pread(fd, read, strlen(text), offset) >= 0);
    close(fd);
    return memcmp(read, text, strlen(text)) == 0;
}

bool pool_has_no_new_file(void)
{
    char command[128];

    snprintf(command, sizeof(command), "ls -A %s | grep -q '[.]new$'", folder);
    return system(command) != 0;
}
