/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/ceph/ceph_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/backends/module.h"
#include "server/session/snapshot.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

#define BLOCK 4096u

struct server ceph_server;

static struct config config;
static struct rdisk_error err;
static bool done;

void ceph_server_begin(uint64_t size)
{
    static struct backend_ceph ceph = {
        .user = "admin",
        .keyring = "",
        .op_timeout_s = 10,
        .connect_timeout_s = 10,
        .server = "unit",
        .instance = "1",
    };

    log_set_level(QUIET);
    ceph.config = getenv("CEPH_CONF");
    REQUIRE(config_init(&config) == 0);
    ceph_server = (struct server) { .env = &rdisk_env_system,
                                    .config = &config };
    operations_init(&ceph_server.operations, NULL);
    REQUIRE(pool_init_images(&ceph_server.pool, rdisk_backend_module.class,
                             &ceph, "rbd", 0, &err) == 0);
    REQUIRE(pool_create(&ceph_server.pool, "v", size, &err) == 0);
}

void ceph_server_end(void)
{
    pool_destroy(&ceph_server.pool);
    config_free(&config);
    log_set_level(RDISK_LOG_INFO);
}

static void copied(struct snapshot *snapshot)
{
    done = true;
}

int ceph_server_copy(const char *source, const char *target)
{
    struct snapshot snapshot = { .server = &ceph_server, .done = copied };

    done = false;
    snprintf(snapshot.work.operation.volume,
             sizeof(snapshot.work.operation.volume), "%s", source);
    snprintf(snapshot.target, sizeof(snapshot.target), "%s", target);
    snapshot_start(&snapshot);
    CHECK(done);
    return snapshot.work.result;
}

char ceph_server_block(const char *name, enum rdisk_op op, uint64_t offset,
                       char byte, uint8_t identity[RDISK_ID_SIZE])
{
    struct volume *volume = pool_get(&ceph_server.pool, name, &err);
    struct rig rig = { 0 };
    char read;

    REQUIRE(volume != NULL);
    rig_join(&rig, volume->backend);
    memset(rig.memory, byte, BLOCK);
    CHECK_EQUAL(rig_io(&rig, op, 0, offset, BLOCK), 0);
    read = rig.memory[0];
    rig_leave(&rig);
    if (identity) {
        memcpy(identity, volume->backend->identity, RDISK_ID_SIZE);
    }
    pool_put(&ceph_server.pool, volume);
    return read;
}
