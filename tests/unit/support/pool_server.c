/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/pool_server.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/session/barrier.h"
#include "server/session/flatten.h"
#include "server/session/snapshot.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/reflink.h"
#include "tests/unit/support/text_file.h"
#include "tests/unit/support/unit.h"

struct server pool_server;
struct config pool_config;
char pool_folder[64];

/* ---- Its life ------------------------------------------------------------ */

void pool_server_open(void)
{
    struct rdisk_error err;

    pool_server = (struct server) {
        .config = &pool_config,
        .env = &rdisk_env_system,
    };
    REQUIRE(mailbox_init(&pool_server.mailbox) == 0);
    operations_init(&pool_server.operations, NULL);
    REQUIRE(pool_init(&pool_server.pool, pool_folder, 0, &err) == 0);
    REQUIRE(records_init(&pool_server.records, NULL, pool_folder) == 0);
    pool_server.pool.records = &pool_server.records;
}

void pool_server_close(void)
{
    CHECK(pool_server.sessions == NULL);
    CHECK_EQUAL(pool_server.operations.count, 0);
    /* Records of what has ended, for who asks again. */
    flattens_check_time(&pool_server, RDISK_NEVER - 1);
    if (pool_server.jobs) {
        jobs_destroy(pool_server.jobs);
    }
    pool_destroy(&pool_server.pool);
    records_destroy(&pool_server.records);
    mailbox_destroy(&pool_server.mailbox);
}

static void begin(uint64_t size)
{
    struct rdisk_error err;

    log_set_level(QUIET);
    REQUIRE(config_init(&pool_config) == 0);
    pool_config.authentication = ACCESS_METHOD_OPEN;
    pool_server_open();
    REQUIRE(pool_create(&pool_server.pool, "v", size, &err) == 0);
}

void pool_server_begin(uint64_t size)
{
    plain_folder(pool_folder, sizeof(pool_folder));
    begin(size);
}

bool pool_server_begin_shared(uint64_t size)
{
    if (!reflink_folder(pool_folder, sizeof(pool_folder))) {
        return false;
    }
    begin(size);
    return true;
}

void pool_server_begin_configured(const char *text)
{
    char path[80], secret[80], all[2000];
    struct rdisk_error err;

    log_set_level(QUIET);
    plain_folder(pool_folder, sizeof(pool_folder));
    snprintf(path, sizeof(path), "%s/.conf", pool_folder);
    snprintf(secret, sizeof(secret), "%s/.secret", pool_folder);
    text_file_write(secret, "00112233445566778899aabbccddeeff\n");
    snprintf(all, sizeof(all), "%s%s%s\n", text,
             strstr(text, "[client") ? "secret-file = " : "# ", secret);
    text_file_write(path, all);
    REQUIRE(config_init(&pool_config) == 0);
    REQUIRE(config_read(&pool_config, path, &err) == 0);
    pool_server_open();
}

void pool_server_end(void)
{
    pool_server_close();
    config_free(&pool_config);
    remove_folder(pool_folder);
    log_set_level(RDISK_LOG_INFO);
}

void pool_server_turn(int ms)
{
    struct pollfd pfd = { .fd = pool_server.mailbox.fd, .events = POLLIN };

    poll(&pfd, 1, ms);
    mailbox_run(&pool_server.mailbox);
    barriers_check_time(&pool_server, rdisk_now(&rdisk_env_system));
}

/* ---- Its jobs ------------------------------------------------------------ */

static struct job stuck[JOBS_OF_STORE];
static sem_t go;

void pool_server_start_jobs(void)
{
    pool_server.jobs = jobs_create(&pool_server.mailbox, pool_server.env,
                                   RDISK_NEVER / 2);
    REQUIRE(pool_server.jobs != NULL);
    operations_init(&pool_server.operations, pool_server.jobs);
    sem_init(&go, 0, 0);
}

void pool_server_settle(void)
{
    while (jobs_count(pool_server.jobs)) {
        pool_server_turn(20);
    }
}

static void stuck_run(struct job *job)
{
    while (sem_wait(&go) < 0) {
        /* interrupted */
    }
}

static void stuck_done(struct job *job)
{
}

void pool_server_hang(void)
{
    struct rdisk_error err;

    for (unsigned int i = 0; i < JOBS_OF_STORE; i++) {
        stuck[i] = (struct job) {
            .what = "waiting for",
            .volume = "pool",
            .store = &pool_server.pool,
            .run = stuck_run,
            .done = stuck_done,
        };
        REQUIRE(jobs_submit(pool_server.jobs, &stuck[i], &err) == 0);
    }
}

void pool_server_release(void)
{
    for (unsigned int i = 0; i < JOBS_OF_STORE; i++) {
        sem_post(&go);
    }
}

/* ---- Snapshots ----------------------------------------------------------- */

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

    snprintf(command, sizeof(command), "ls -A %s | grep -q '[.]new$'",
             pool_folder);
    return system(command) != 0;
}
